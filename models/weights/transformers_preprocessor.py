"""What transformers' image processors save: sizes, padding and normalisation."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.resizing import LARGEST, Resizing, Rule
from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.json_fields import JsonFields

Colour = tuple[float, float, float]

IMAGES: Final = "preprocessor_config.json"
PROCESSOR: Final = "processor_config.json"
CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")
"""What a Trainer calls the folder of a step."""

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
    resizing: Resizing
    mean: Colour
    std: Colour


def read_preprocessor(folder: Path) -> Preprocessor:
    """Read what the folder says of its images; where it says nothing, the published settings hold.

    Raises UnsupportedModel for sizes that transformers does not know either; CorruptCheckpoint for a field of a wrong
    type.
    """
    fields = _fields(folder)
    if fields.number("resample", BILINEAR) != BILINEAR:
        log.warning("%s: resample is not bilinear; images are resized bilinearly all the same", fields.source)
    return Preprocessor(*_sizes(fields), *_normalisation(fields))


def _fields(folder: Path) -> JsonFields:
    """What an image processor saved, by itself or inside a processor; for a Trainer's checkpoint also one folder up."""
    folder = folder.resolve()
    for place in (folder, folder.parent) if CHECKPOINT.fullmatch(folder.name) else (folder,):
        fields = _fields_in(place)
        if fields is not None:
            if place != folder:
                log.warning("%s holds no %s; that of %s is taken", folder, IMAGES, place)
            return fields
    log.warning("%s holds no %s; images are resized and normalised as for the published models", folder, IMAGES)
    return JsonFields({}, str(folder / IMAGES))


def _fields_in(folder: Path) -> JsonFields | None:
    """A processor's image processor comes first, as transformers 5 has it; not every processor holds one."""
    if (folder / PROCESSOR).is_file():
        processor = JsonFields.read(folder / PROCESSOR)
        if processor.has("image_processor"):
            return processor.inner("image_processor")
    return JsonFields.read(folder / IMAGES) if (folder / IMAGES).exists() else None


def _sizes(fields: JsonFields) -> tuple[int, int, Resizing]:
    """Shortest and longest side and, with them, all that transformers does to an image's size."""
    canvas = _canvas(fields)
    if not fields.flag("do_resize", True):
        log.warning("%s: do_resize is false; images keep their size, up to %d pixels a side", fields.source, LARGEST)
        return SHORTEST, LONGEST, Resizing("none", None, canvas)
    rule, size = _rule(fields)
    if rule == "sides":
        shortest, longest = size
        if canvas and longest > min(canvas):
            log.warning("%s: images too large for pad_size %s are made smaller to fit", fields.source, canvas)
        return shortest, longest, Resizing("sides", None, canvas)
    if canvas and (size[0] > canvas[0] or size[1] > canvas[1]):
        raise UnsupportedModel(f"{fields.source}: images of size {size} do not fit in pad_size {canvas}")
    return min(size), max(size), Resizing(rule, size, canvas)


def _rule(fields: JsonFields) -> tuple[Rule, tuple[int, int]]:
    """The rule and its two numbers: shortest and longest side, or height and width."""
    # Before 2023 `size` was the shortest edge itself, and `max_size` the longest.
    longest = fields.count("max_size", LONGEST)
    given = fields.fields.get("size")
    if isinstance(given, list):
        return "exact", _height_and_width(fields, "size")
    if not isinstance(given, dict):
        shortest = fields.count("size", SHORTEST)
        return "sides", (shortest, max(shortest, longest))
    size = fields.inner("size")
    keys = {key for key in size.fields if size.has(key)}
    if keys == {"height", "width"}:
        return "exact", _height_and_width(fields, "size")
    if keys == {"max_height", "max_width"}:
        return "inside", (size.count("max_height", 1), size.count("max_width", 1))
    if not keys or keys - {"shortest_edge", "longest_edge"}:
        raise UnsupportedModel(
            f"{size.source} = {dict(size.fields)} is not supported: it must give shortest_edge and longest_edge, "
            "max_height and max_width, or height and width"
        )
    longest = size.count("longest_edge", longest)
    shortest = size.count("shortest_edge", longest)
    return "sides", (shortest, max(shortest, longest))


def _canvas(fields: JsonFields) -> tuple[int, int] | None:
    """(height, width) that every image is padded to; None where only images of one batch are padded to each other."""
    padded = fields.flag("do_pad", fields.flag("pad_and_return_pixel_mask", True))
    return _height_and_width(fields, "pad_size") if padded and fields.has("pad_size") else None


def _height_and_width(fields: JsonFields, key: str) -> tuple[int, int]:
    """Height and width given by name, as a list in this order, or as one number for both."""
    value = fields.fields[key]
    if isinstance(value, dict):
        size = fields.inner(key)
        if not (size.has("height") and size.has("width")):
            raise UnsupportedModel(f"{size.source} = {value} is not supported: it must give height and width")
        return size.count("height", 1), size.count("width", 1)
    sides = fields.counts(key, ()) if isinstance(value, list) else (fields.count(key, 1),) * 2
    if len(sides) != 2:
        raise fields.refused(key, "height and width")
    return sides[0], sides[1]


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
