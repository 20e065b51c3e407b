"""DetrConfig to JSON and back, strictly: a file must not mean something else than it says."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from models.config import DetrConfig

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
    config = _decode(DetrConfig, fields, "config")
    if not isinstance(config, DetrConfig):
        raise TypeError(f"decoded a {type(config).__name__}")
    return config


def _decode(kind: Any, value: object, where: str) -> object:
    """Value as the annotated kind; ValueError names the place where it does not fit."""
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), value, where)
    if origin is types.UnionType:
        if value is None and type(None) in get_args(kind):
            return None
        (kind,) = (part for part in get_args(kind) if part is not type(None))
        return _decode(kind, value, where)
    if origin is Literal and value in get_args(kind):
        return value
    if kind is int and type(value) is int and value > 0:  # every whole number of a model counts something
        return value
    if kind is float and type(value) in (int, float) and math.isfinite(float(str(value))):
        return float(str(value))
    if kind in (bool, str) and type(value) is kind:
        return value
    raise ValueError(f"{where} must not be {value!r}")


def _decode_dataclass(kind: type, value: object, where: str) -> object:
    hints = get_type_hints(kind)
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {value!r}")
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where} has unknown fields: {', '.join(unknown)}")
    try:
        return kind(**{key: _decode(hints[key], item, f"{where}.{key}") for key, item in value.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _decode_tuple(parts: tuple[Any, ...], value: object, where: str) -> object:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where} must be a list that is not empty")
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(parts) != len(value):
        raise ValueError(f"{where} must have {len(parts)} items, not {len(value)}")
    return tuple(_decode(part, item, f"{where}[{i}]") for i, (part, item) in enumerate(zip(parts, value, strict=True)))
