"""`preprocessor_config.json` of transformers: sizes and normalisation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.json_fields import JsonFields

Colour = tuple[float, float, float]

SHORTEST: Final = 800
LONGEST: Final = 1333
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
BILINEAR: Final = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """To which size images are brought, in pixels, and how RGB in 0..1 is normalised, as in `DetrConfig`."""

    shortest_side: int
    longest_side: int
    mean: Colour
    std: Colour


def read_preprocessor(folder: Path) -> Preprocessor:
    """Read the folder's file; without one, the published settings hold.

    Raises UnsupportedModel where images are to be distorted, or not resized; CorruptCheckpoint for a field of
    a wrong type.
    """
    path = folder / "preprocessor_config.json"
    fields = JsonFields.read(path) if path.exists() else JsonFields({}, str(path))
    fields.only("do_resize", True, True, "images are always resized")
    if fields.number("resample", BILINEAR) != BILINEAR:
        log.warning("%s: resample is not bilinear; images are resized bilinearly all the same", fields.source)
    return Preprocessor(*_sides(fields), *_normalisation(fields))


def _sides(fields: JsonFields) -> tuple[int, int]:
    """Before 2023 `size` was the shortest edge itself, and `max_size` the longest."""
    longest = fields.count("max_size", LONGEST)
    if not isinstance(fields.fields.get("size"), dict):
        shortest = fields.count("size", SHORTEST)
        return shortest, max(shortest, longest)
    size = fields.inner("size")
    given = {key for key in size.fields if size.has(key)}
    if not given or given - {"shortest_edge", "longest_edge"}:
        raise UnsupportedModel(
            f"{size.source} = {dict(size.fields)} is not supported: it must give shortest_edge and "
            "longest_edge, as the shape of the image is kept"
        )
    longest = size.count("longest_edge", longest)
    shortest = size.count("shortest_edge", longest)
    return shortest, max(shortest, longest)


def _normalisation(fields: JsonFields) -> tuple[Colour, Colour]:
    """Mean and deviation for RGB in 0..1, whatever scale the checkpoint's own processor normalises in."""
    scale = fields.number("rescale_factor", 1 / 255) * 255 if fields.flag("do_rescale", True) else 255.0
    normalise = fields.flag("do_normalize", True)
    mean = fields.triple("image_mean", MEAN) if normalise else (0.0, 0.0, 0.0)
    std = fields.triple("image_std", STD) if normalise else (1.0, 1.0, 1.0)
    if scale <= 0 or min(std) <= 0:
        raise CorruptCheckpoint(f"{fields.source}: rescale_factor and image_std must be above 0")
    if abs(scale - 1) < 1e-6:
        return mean, std
    return (mean[0] / scale, mean[1] / scale, mean[2] / scale), (
        std[0] / scale,
        std[1] / scale,
        std[2] / scale,
    )
