"""The box around a COCO segmentation: of polygons, or of a mask as runs (RLE)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from models.data.fields import read_number, read_whole

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""

MIN_COORDINATES: Final = 6
BITS: Final = 5
"""Bits of a number that one character of compressed runs carries."""


def box_around(segmentation: Any) -> Box | None:
    """The box around a segmentation; None without one, or if it covers nothing.

    Polygons: a list of lists [x, y, x, y, ...], one such list, or points [[x, y], ...]. RLE: `size` [height, width]
    and `counts`, a list or COCO's compressed string. Raises ValueError for what is neither.
    """
    if segmentation is None or segmentation in ([], {}, ""):
        return None
    if isinstance(segmentation, dict):
        return _around_runs(segmentation)
    if isinstance(segmentation, list):
        return _around_polygons(segmentation)
    raise ValueError("is neither polygons nor RLE")


def mask_size(segmentation: Any) -> tuple[int, int] | None:
    """Height and width of the image that an RLE is of; None for polygons. Raises ValueError."""
    if not isinstance(segmentation, dict):
        return None
    return _size(segmentation)


def decoded_counts(text: str) -> list[int]:
    """Lengths of runs from COCO's compressed string. Raises ValueError for text that is none.

    Every character from '0' on carries five bits of a number, lowest first, and a sixth that says that more follow;
    the highest bit of the last is the sign. From the third run on, a number is the difference from the one two before.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError("has counts that are no compressed runs")
        value |= (code & 0x1F) << shift
        shift += BITS
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("has counts that end in the middle of a number")
    return counts


def _around_polygons(parts: list[Any]) -> Box | None:
    points = list(_points(parts))
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("has coordinates that are not finite")
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)) if points else None


def _points(parts: list[Any]) -> Iterator[tuple[float, float]]:
    """Yield the corners of all polygons."""
    if not any(isinstance(part, list) for part in parts):
        parts = [parts]
    elif all(isinstance(part, list) and len(part) == 2 for part in parts):
        parts = [[number for part in parts for number in part]]
    for part in parts:
        if not isinstance(part, list) or len(part) % 2 or 0 < len(part) < MIN_COORDINATES:
            raise ValueError("has a polygon that is no list of at least three corners")
        numbers = [read_number(number) for number in part]
        yield from zip(numbers[::2], numbers[1::2], strict=True)


def _size(mask: dict[str, Any]) -> tuple[int, int]:
    size = mask.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError("has no size [height, width]")
    height, width = map(read_whole, size)
    if min(height, width) < 1:
        raise ValueError("has no size [height, width]")
    return height, width


def _around_runs(mask: dict[str, Any]) -> Box | None:
    """The box around a mask: columns from top to bottom, runs of background and mask by turns."""
    height, width = _size(mask)
    counts = mask.get("counts")
    if not isinstance(counts, (str, list)):
        raise ValueError("has no counts")
    runs = decoded_counts(counts) if isinstance(counts, str) else [read_whole(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"has runs that do not fill its {height} rows of {width}")
    return _around_columns(runs, height)


def _around_columns(runs: Sequence[int], height: int) -> Box | None:
    """The box around the mask's runs; one that goes on in the next column reaches from bottom to top."""
    ends = list(accumulate(runs))
    spans = [(end - run, end - 1) for run, end in zip(runs[1::2], ends[1::2], strict=True) if run]
    if not spans:
        return None
    left, right = spans[0][0] // height, spans[-1][1] // height
    inside = all(first // height == last // height for first, last in spans)
    top = min(first % height for first, _ in spans) if inside else 0
    bottom = max(last % height for _, last in spans) if inside else height - 1
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)
