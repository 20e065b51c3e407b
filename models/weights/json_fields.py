"""Fields of other people's JSON: read with the type that is expected, or refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.weights.errors import CorruptCheckpoint, UnsupportedModel


@dataclass(frozen=True, slots=True)
class JsonFields:
    """An object of a JSON file. A field that is null counts as absent."""

    fields: Mapping[str, Any]
    source: str

    @classmethod
    def read(cls, path: Path) -> JsonFields:
        """Read a file. Raises CorruptCheckpoint where it is missing, or holds no JSON object."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorruptCheckpoint(f"{path} cannot be read: {error}") from error
        if not isinstance(fields, dict):
            raise CorruptCheckpoint(f"{path} holds no JSON object")
        return cls(fields, str(path))

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self.fields.get(key) is not None

    def inner(self, key: str) -> JsonFields:
        """Take the object in this field; an empty one where it is absent."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.refused(key, "an object")
        return JsonFields(value or {}, f"{self.source}: {key}")

    def count(self, key: str, default: int) -> int:
        """Take a whole number above 0."""
        value = self.fields.get(key)
        if value is None:
            return default
        if type(value) is not int or value < 1:
            raise self.refused(key, "a whole number above 0")
        return value

    def number(self, key: str, default: float) -> float:
        """Take a finite number."""
        (value,) = self.numbers_of([self.fields.get(key, default)], key)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Take true or false."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.refused(key, "true or false")
        return default if value is None else value

    def text(self, key: str, default: str = "") -> str:
        """Take a string."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, str):
            raise self.refused(key, "a string")
        return default if value is None else value

    def counts(self, key: str, default: Sequence[int]) -> tuple[int, ...]:
        """Take whole numbers above 0, at least one."""
        values = self.fields.get(key)
        if values is None:
            return tuple(default)
        if not isinstance(values, list) or not values or any(type(v) is not int or v < 1 for v in values):
            raise self.refused(key, "whole numbers above 0")
        return tuple(values)

    def triple(self, key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
        """Take three finite numbers, one a colour."""
        values = self.fields.get(key)
        if values is None:
            return default
        if not isinstance(values, list) or len(values) != 3:
            raise self.refused(key, "three numbers")
        first, second, third = self.numbers_of(values, key)
        return first, second, third

    def numbers_of(self, values: Sequence[object], key: str) -> list[float]:
        """Check that the values are finite numbers."""
        floats = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(floats) != len(values) or not all(map(math.isfinite, floats)):
            raise self.refused(key, "finite numbers")
        return floats

    def only(self, key: str, wanted: object, default: object, why: str) -> None:
        """Refuse every value but one, which the model is built on."""
        value = self.fields.get(key)
        value = default if value is None else value
        if value != wanted:
            raise UnsupportedModel(f"{self.source}: {key} = {value!r} is not supported: {why}")

    def refused(self, key: str, kind: str) -> CorruptCheckpoint:
        """Make the error that a field has a wrong type."""
        return CorruptCheckpoint(f"{self.source}: {key} must be {kind}, not {self.fields.get(key)!r}")
