"""Where checkpoints come from: names, files and folders to a configuration and weights."""

from models.weights.cache import cached_path, default_cache_dir
from models.weights.checkpoint_files import load_state_dict, read_config, save_checkpoint
from models.weights.download import download
from models.weights.errors import (
    CorruptCheckpoint,
    DownloadFailed,
    MismatchedWeights,
    NoDiskSpace,
    Offline,
    TamperedDownload,
    TruncatedDownload,
    UnknownModel,
    UnsafeCheckpoint,
    UnsupportedModel,
    WeightsError,
)
from models.weights.inferred_config import config_from_state_dict
from models.weights.published import PUBLISHED, PublishedCheckpoint
from models.weights.resolve import LoadedWeights, resolve
from models.weights.strict_load import load_strict
from models.weights.transformers_folder import load_transformers_folder

__all__ = [
    "PUBLISHED",
    "CorruptCheckpoint",
    "DownloadFailed",
    "LoadedWeights",
    "MismatchedWeights",
    "NoDiskSpace",
    "Offline",
    "PublishedCheckpoint",
    "TamperedDownload",
    "TruncatedDownload",
    "UnknownModel",
    "UnsafeCheckpoint",
    "UnsupportedModel",
    "WeightsError",
    "cached_path",
    "config_from_state_dict",
    "default_cache_dir",
    "download",
    "load_state_dict",
    "load_strict",
    "load_transformers_folder",
    "read_config",
    "resolve",
    "save_checkpoint",
]
