"""DetrConfig to JSON and back, strictly: a file must not mean something else than it says."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Final

from pydantic import TypeAdapter, ValidationError

from models.config import DetrConfig
from models.weights.foreign_json import first_error

FORMAT: Final = 1


def config_to_json(config: DetrConfig) -> str:
    """Write one line of JSON with every field and the version of this format."""
    return json.dumps({"format": FORMAT, **dataclasses.asdict(config)}, allow_nan=False)


def config_from_json(text: str) -> DetrConfig:
    """Read the configuration that `config_to_json` wrote.

    Raises ValueError for another format, for a field that is unknown, of a wrong type or out of range, and
    for a missing one that has no default (a field that later versions add must have one).
    """
    fields = json.loads(text)
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    try:
        return _adapter().validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        raise ValueError(first_error(error, "config")) from error


@cache
def _adapter() -> TypeAdapter[DetrConfig]:
    return TypeAdapter(DetrConfig)
