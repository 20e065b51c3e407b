"""Clustered attention in models of other libraries, with their own weights: transformers' and plain torch's.

from models.plugged import attention_settings, plug_into
plug_into(model, "tangent:C=16")
"""

from models.plugged.errors import CannotCluster, CannotPlug, PlugError, RecomputedElsewhere
from models.plugged.plugging import plug_into, unplug
from models.plugged.settings import AttentionRun, attention_settings

__all__ = [
    "AttentionRun",
    "CannotCluster",
    "CannotPlug",
    "PlugError",
    "RecomputedElsewhere",
    "attention_settings",
    "plug_into",
    "unplug",
]
