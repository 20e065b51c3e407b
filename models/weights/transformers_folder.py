"""A folder that transformers saved, for a model that our own network runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import Field
from torch import Tensor

from models.config import DetrConfig
from models.detr.mask_head import MaskHead
from models.weights.checkpoint_files import load_state_dict
from models.weights.errors import CorruptCheckpoint
from models.weights.foreign_json import ForeignJson, parsed, read_json
from models.weights.foreign_model import ForeignModel, own_config
from models.weights.key_map import published_names
from models.weights.mask_weights import mask_head_of
from models.weights.own_settings import FIELD, with_own_settings
from models.weights.trainer_output import WEIGHTS, model_folder
from models.weights.transformers_config import with_labels_of_head
from models.weights.wrappers import without_wrappers

STAGE: Final = re.compile(r"backbone\.0\.body\.layer(\d+)\.")


class ShardIndex(ForeignJson):
    """The index of weights in several files; `weight_map` names the file of each weight."""

    weight_map: dict[str, str] = Field(default_factory=dict)


def load_transformers_folder(path: Path) -> tuple[DetrConfig, dict[str, Tensor]]:
    """Load configuration and weights as `load_segmenting_folder` does, without a mask head."""
    config, state, _ = load_segmenting_folder(path)
    return config, state


def load_segmenting_folder(path: Path) -> tuple[DetrConfig, dict[str, Tensor], MaskHead | None]:
    """Load configuration, weights under the published names and, of a model for segmentation, its mask head.

    The folder holds config.json, usually preprocessor_config.json, and weights in one file or in shards with
    an index, as safetensors or PyTorch's. Of a Trainer's output folder it may be a checkpoint, or the whole: then the
    best or newest checkpoint is loaded (`models.weights.trainer_output`). The model has the name of the folder asked
    for. Raises ForeignModel where only transformers can run it, or UnsupportedModel, CorruptCheckpoint,
    UnsafeCheckpoint, MismatchedWeights.
    """
    folder = model_folder(path)
    try:
        config = replace(own_config(folder), name=path.resolve().name)
    except ForeignModel as foreign:
        raise foreign.named(path.resolve().name) from foreign.__cause__
    weights = read_weights(folder)
    state = published_names(without_wrappers(weights, folder))
    if (head := state.get("class_embed.weight")) is not None:
        config = with_labels_of_head(config, len(head) - 1, folder / "config.json")
    state = _without_unused_stages(state, len(config.resnet.blocks))
    source = folder / "config.json"
    config = with_own_settings(config, read_json(source).get(FIELD), state, str(source))
    return config, state, mask_head_of(weights, config)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a folder, whole or in shards, by the names that they have there.

    Raises CorruptCheckpoint, UnsafeCheckpoint, or WeightsError where a file cannot be read.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return load_state_dict(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _read_shards(folder, index)
    raise CorruptCheckpoint(f"{folder} holds no weights: neither {' nor '.join(WEIGHTS)}, whole or in shards")


def shard_of_weights(index: Path) -> dict[str, str]:
    """Read which file holds each weight. Raises CorruptCheckpoint for a name that leads out of the folder."""
    shard_of = parsed(ShardIndex, read_json(index), str(index)).weight_map
    for shard in shard_of.values():
        if Path(shard).name != shard:
            raise CorruptCheckpoint(f"{index}: {shard!r} is no file of this folder")
    return shard_of


def _read_shards(folder: Path, index: Path) -> dict[str, Tensor]:
    """Every shard that the index names."""
    shard_of = shard_of_weights(index)
    state: dict[str, Tensor] = {}
    for shard in sorted(set(shard_of.values())):
        state |= load_state_dict(folder / shard)
    lost = [key for key in shard_of if key not in state and not key.endswith("num_batches_tracked")]
    if lost:
        raise CorruptCheckpoint(f"{folder} lacks {len(lost)} weights that its index names, {lost[0]} among them")
    return state


def _without_unused_stages(state: dict[str, Tensor], stages: int) -> dict[str, Tensor]:
    """Leave out the backbone's stages past the last one that is used: transformers saves them too."""
    return {key: value for key, value in state.items() if not ((m := STAGE.match(key)) and int(m[1]) > stages)}
