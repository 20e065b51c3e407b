"""Image processors that transformers saved: sizes, padding and normalisation."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from models.resizing import LARGEST, Resizing, Rule
from models.weights.errors import UnsupportedModel
from models.weights.foreign_json import ForeignJson, parsed, read_json

Colour = tuple[float, float, float]
Three = Field(strict=False, min_length=3, max_length=3)

IMAGES: Final = "preprocessor_config.json"
PROCESSOR: Final = "processor_config.json"
CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")
"""Name of a Trainer's folder of a step."""

SHORTEST: Final = 800
LONGEST: Final = 1333
BILINEAR: Final = 2

log = logging.getLogger(__name__)


class ProcessorFields(ForeignJson):
    """What is read of an image processor, with transformers' defaults; `size` and `pad_size` only where they matter."""

    do_resize: bool = True
    size: Any = SHORTEST
    max_size: PositiveInt = LONGEST
    resample: float = BILINEAR
    do_pad: bool | None = None
    pad_and_return_pixel_mask: bool = True
    pad_size: Any = None
    do_rescale: bool = True
    rescale_factor: PositiveFloat = 1 / 255
    do_normalize: bool = True
    image_mean: Annotated[tuple[float, ...], Three] = (0.485, 0.456, 0.406)
    image_std: Annotated[tuple[PositiveFloat, ...], Three] = (0.229, 0.224, 0.225)


class Size(ForeignJson):
    """`size` by name, as a list of height and width, or as the shortest edge itself, as before 2023."""

    model_config = ConfigDict(extra="forbid")

    shortest_edge: PositiveInt | None = None
    longest_edge: PositiveInt | None = None
    height: PositiveInt | None = None
    width: PositiveInt | None = None
    max_height: PositiveInt | None = None
    max_width: PositiveInt | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, list):
            return _by_name(value)
        return value if isinstance(value, dict) else {"shortest_edge": value}


class PadSize(ForeignJson):
    """`pad_size` by name, as a list of height and width, or as one number for both."""

    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else _by_name(value if isinstance(value, list) else [value, value])


def _by_name(sides: list[Any]) -> dict[str, Any]:
    if len(sides) != 2:
        raise ValueError(f"a list must be of height and width, not {sides!r}")
    return {"height": sides[0], "width": sides[1]}


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """To which size images are brought, in pixels, and how RGB in 0..1 is normalised, as in `DetrConfig`."""

    shortest_side: int
    longest_side: int
    resizing: Resizing
    mean: Colour
    std: Colour


def read_preprocessor(folder: Path, defaults: Mapping[str, Any] | None = None) -> Preprocessor:
    """Read what the folder says of its images; where it says nothing, the published settings hold.

    `defaults` are fields of an image processor whose defaults are not DETR's. Raises UnsupportedModel for sizes that
    transformers does not know either; CorruptCheckpoint for a field of a wrong type.
    """
    saved, source = _saved_in(folder.resolve())
    fields = parsed(ProcessorFields, {**(defaults or {}), **saved} if isinstance(saved, dict) else saved, source)
    if fields.resample != BILINEAR:
        log.warning("%s: resample is not bilinear; images are resized bilinearly all the same", source)
    return Preprocessor(*_sizes(fields, source), *_normalisation(fields))


def _saved_in(folder: Path) -> tuple[object, str]:
    """Return an image processor and where it was; for a Trainer's checkpoint it may lie one folder up."""
    for candidate in (folder, folder.parent) if CHECKPOINT.fullmatch(folder.name) else (folder,):
        # A processor's image processor comes first, as transformers 5 has it; not every processor holds one.
        processor = read_json(candidate / PROCESSOR) if (candidate / PROCESSOR).is_file() else {}
        inside = processor.get("image_processor")
        if inside is None and not (candidate / IMAGES).exists():
            continue
        if candidate != folder:
            log.warning("%s holds no %s; that of %s is taken", folder, IMAGES, candidate)
        if inside is not None:
            return inside, f"{candidate / PROCESSOR}: image_processor"
        return read_json(candidate / IMAGES), str(candidate / IMAGES)
    log.warning("%s holds no %s; images are resized and normalised as for the published models", folder, IMAGES)
    return {}, str(folder / IMAGES)


def _sizes(fields: ProcessorFields, source: str) -> tuple[int, int, Resizing]:
    """Shortest and longest side and, with them, all that transformers does to an image's size."""
    canvas = _canvas(fields, source)
    if not fields.do_resize:
        log.warning("%s: do_resize is false; images keep their size, up to %d pixels a side", source, LARGEST)
        return SHORTEST, LONGEST, Resizing("none", None, canvas)
    rule, size = _rule(fields, source)
    if rule == "sides":
        shortest, longest = size
        if canvas and longest > min(canvas):
            log.warning("%s: images too large for pad_size %s are made smaller to fit", source, canvas)
        return shortest, longest, Resizing("sides", None, canvas)
    if canvas and (size[0] > canvas[0] or size[1] > canvas[1]):
        raise UnsupportedModel(f"{source}: images of size {size} do not fit in pad_size {canvas}")
    return min(size), max(size), Resizing(rule, size, canvas)


def _rule(fields: ProcessorFields, source: str) -> tuple[Rule, tuple[int, int]]:
    """The rule and its two numbers: shortest and longest side, or height and width."""
    size = parsed(Size, fields.size, f"{source}: size")
    given = {name for name in Size.model_fields if getattr(size, name) is not None}
    if size.height and size.width and len(given) == 2:
        return "exact", (size.height, size.width)
    if size.max_height and size.max_width and len(given) == 2:
        return "inside", (size.max_height, size.max_width)
    if not given or given - {"shortest_edge", "longest_edge"}:
        raise UnsupportedModel(
            f"{source}: size = {fields.size} is not supported: it must give shortest_edge and longest_edge, "
            "max_height and max_width, or height and width"
        )
    longest = size.longest_edge or fields.max_size
    shortest = size.shortest_edge or longest
    return "sides", (shortest, max(shortest, longest))


def _canvas(fields: ProcessorFields, source: str) -> tuple[int, int] | None:
    """(height, width) that every image is padded to; None where only images of one batch are padded to each other."""
    padded = fields.pad_and_return_pixel_mask if fields.do_pad is None else fields.do_pad
    if not padded or fields.pad_size is None:
        return None
    size = parsed(PadSize, fields.pad_size, f"{source}: pad_size")
    return size.height, size.width


def _normalisation(fields: ProcessorFields) -> tuple[Colour, Colour]:
    """Mean and deviation for RGB in 0..1, whatever scale the checkpoint's own processor normalises in."""
    scale = fields.rescale_factor * 255 if fields.do_rescale else 255.0
    if abs(scale - 1) < 1e-6:
        scale = 1.0
    if not fields.do_normalize:
        return (0.0, 0.0, 0.0), (1 / scale, 1 / scale, 1 / scale)
    return _scaled(fields.image_mean, scale), _scaled(fields.image_std, scale)


def _scaled(colour: tuple[float, ...], scale: float) -> Colour:
    red, green, blue = colour
    return red / scale, green / scale, blue / scale
