"""Models of the Hugging Face hub: their names, their snapshots, and those that are in its cache.

`huggingface_hub` is imported when such a model is asked for, and never before: other models start without it.
"""

from models.weights.hub.kept import KeptModel, kept_models
from models.weights.hub.name import HubModel
from models.weights.hub.snapshot import fetch_snapshot

__all__ = ["HubModel", "KeptModel", "fetch_snapshot", "kept_models"]
