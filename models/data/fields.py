"""Values of a JSON file as labelling tools write them: numbers in strings, flags as words, names in any form."""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Final

FLAGS: Final = {"": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

Key = int | str
"""An id: a number wherever it can be read as one, so that "1" and 1 are the same."""


def read_key(value: Any) -> Key:
    """Read an id. Raises ValueError for what is none."""
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else text
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value == int(value):
        return int(value)
    raise ValueError("is no id")


def key_or_none(value: Any) -> Key | None:
    """Read an id; None for what is none."""
    try:
        return read_key(value)
    except ValueError:
        return None


def read_number(value: Any) -> float:
    """Read a number, also one in a string; NaN and infinity are numbers here. Raises ValueError for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is no number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError("is no number") from None


def read_whole(value: Any) -> int:
    """Read a whole number. Raises ValueError for what is none."""
    number = read_number(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError("is no whole number")
    return int(number)


def read_side(value: Any) -> int | None:
    """Read a side of an image in pixels; None where the file leaves it open: null, 0 or less. Raises ValueError."""
    if value is None:
        return None
    number = read_whole(value)
    return number if number > 0 else None


def read_flag(value: Any) -> bool:
    """Read 0, 1, false, true, null and these in strings. Raises ValueError for anything else."""
    if value is None:
        return False
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in FLAGS:
        return FLAGS[value.strip().lower()]
    raise ValueError("is neither 0 nor 1")


def read_name(value: Any) -> str:
    """Read a name; accents in their composed form (NFC), no space around it. Raises ValueError for an empty one."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("is no name")
    name = unicodedata.normalize("NFC", str(value)).strip()
    if not name:
        raise ValueError("is empty")
    return name
