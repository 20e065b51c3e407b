"""What transformers' `config.json` has no field for, kept in one of our own: `act_detr`.

transformers takes the field along, through fine-tuning too. So it holds only what stays true then; and `vouched`, which
is about certain weights, counts only with those.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from models.config import DetrConfig
from models.resizing import Resizing
from models.weights.config_json import config_from_json, config_to_json
from models.weights.digest import state_digest
from models.weights.errors import CorruptCheckpoint

FIELD: Final = "act_detr"
THEIRS: Final = (
    *("name", "labels", "backbone", "hidden_dim", "heads", "encoder_layers", "decoder_layers", "feedforward_dim"),
    *("queries", "pre_norm", "norm_between_decoder_layers", "box_refinement"),
    *("shortest_side", "longest_side", "resizing", "mean", "std"),
)
"""Fields of a DetrConfig that transformers' own files say, or that no such model has."""
SETTINGS: Final = tuple(field.name for field in dataclasses.fields(DetrConfig) if field.name not in THEIRS)
AS_PUBLISHED: Final = "resized_as_published"
WEIGHTS: Final = "weights_sha256"


def own_settings(config: DetrConfig, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The field's value, of JSON's types, for a model with weights of the published names."""
    fields = json.loads(config_to_json(config))
    settings = {name: fields[name] for name in SETTINGS}
    return settings | {AS_PUBLISHED: config.resizing is None, WEIGHTS: state_digest(state)}


def with_own_settings(config: DetrConfig, field: object, state: Mapping[str, Tensor], source: str) -> DetrConfig:
    """A configuration that was read from transformers' files, with what the field adds, if there is one.

    `state` has the published names. What the field does not say stays as it is. Raises CorruptCheckpoint, naming
    `source`, for values that are none of ours.
    """
    if field is None:
        return config
    if not isinstance(field, dict):
        raise CorruptCheckpoint(f"{source}: {FIELD} must be an object, not {field!r}")
    given = {name: field[name] for name in SETTINGS if name in field}
    if given.get("vouched") and field.get(WEIGHTS) != state_digest(state):
        del given["vouched"]
    if field.get(AS_PUBLISHED) is True and config.resizing == Resizing():
        config = replace(config, resizing=None)
    try:
        return config_from_json(json.dumps(json.loads(config_to_json(config)) | given))
    except ValueError as error:
        raise CorruptCheckpoint(f"{source}: {FIELD}: {error}") from error
