"""Checkpoints: names, files, folders and repositories to a configuration and weights.

The rest of the code imports from here only.
"""

from models.named_models import EMBEDDED
from models.weights.cache import cached_path, default_cache_dir
from models.weights.checkpoint_files import read_config, save_checkpoint
from models.weights.config_json import config_from_json, config_to_json
from models.weights.download import Progress, download
from models.weights.errors import UnknownModel, WeightsError
from models.weights.foreign_model import ForeignModel
from models.weights.hub import KeptModel, kept_models
from models.weights.published import PUBLISHED
from models.weights.resolve import embedded_path, fetch, resolve
from models.weights.strict_load import load_strict

__all__ = [
    "EMBEDDED",
    "PUBLISHED",
    "ForeignModel",
    "KeptModel",
    "Progress",
    "UnknownModel",
    "WeightsError",
    "cached_path",
    "config_from_json",
    "config_to_json",
    "default_cache_dir",
    "download",
    "embedded_path",
    "fetch",
    "kept_models",
    "load_strict",
    "read_config",
    "resolve",
    "save_checkpoint",
]
