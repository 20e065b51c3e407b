"""JSON files of transformers: the fields that matter, strictly typed, refused by name.

A value that this DETR has no part for is an UnsupportedModel; a value of a wrong type is a CorruptCheckpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from models.weights.errors import CorruptCheckpoint, UnsupportedModel

UNSUPPORTED: Final = ("literal_error", "missing", "extra_forbidden")
"""Errors that pydantic finds in files that are well made, but of another model."""

WITHOUT_INPUT: Final = (
    *("value_error", "missing", "extra_forbidden", "unexpected_keyword_argument"),
    *("too_short", "too_long"),
)
"""Errors whose message needs no value, or has it already."""


class ForeignJson(BaseModel):
    """An object of a JSON file. A null field counts as absent; fields that are not declared are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if value is not None}


Fields = TypeVar("Fields", bound=ForeignJson)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file. Raises CorruptCheckpoint where it is missing, or holds no JSON object."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptCheckpoint(f"{path} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise CorruptCheckpoint(f"{path} holds no JSON object")
    return fields


def parsed(kind: type[Fields], fields: object, source: str) -> Fields:
    """Take the fields of `kind`. Raises UnsupportedModel or CorruptCheckpoint, naming `source` and the first field."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        unsupported = error.errors()[0]["type"] in UNSUPPORTED
        raise (UnsupportedModel if unsupported else CorruptCheckpoint)(first_error(error, source)) from error


def first_error(error: ValidationError, source: str) -> str:
    """Describe the first of pydantic's errors: the source, the field in it, the rule and the value."""
    first = error.errors()[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    message = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in WITHOUT_INPUT else f", not {first['input']!r}"
    return f"{source}: {f'{field}: ' if field else ''}{message}{value}"
