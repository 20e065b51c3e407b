"""The rungs of the ladder: what is configured, whether the model can do it, and what it takes on this device."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray

from models.attention_config import AttentionConfig
from models.measurement.shortest import shortest_times
from models.measurement.timing import clock
from models.preprocess import resized_for
from service.settings import BadSettings, Settings

if TYPE_CHECKING:
    from models.detector import Detector

_RUNG: Final = re.compile(r"size=(?P<size>\d+)(,(?P<then>[^\s]+))?|(?P<attention>(?!size=)[^\s]+)")
SECONDS: Final = 2.0
"""Time after which no further round of the measurement begins; two have to be."""
STRIP: Final = 8
"""Longest side by shortest of the strip that is measured."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A cheaper way to detect: another `size`, in pixels, another attention than `auto` chooses, or both."""

    size: int | None = None
    attention: AttentionConfig | None = None

    def __str__(self) -> str:
        size = None if self.size is None else f"size={self.size}"
        return ",".join(str(part) for part in (size, self.attention) if part is not None)


@dataclass(frozen=True, slots=True)
class RungTimes:
    """Seconds of one image on the device at every rung, from rung 0 on: a row for each number of pixels, rising.

    Pixels are those at rung 0, after resizing. The rows were measured side by side: only their ratios count.
    """

    pixels: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def at(self, pixels: int) -> tuple[float, ...]:
        """Return the seconds at every rung: on the line between two rows, or those of the nearest."""
        return tuple(float(np.interp(pixels, self.pixels, column)) for column in zip(*self.seconds, strict=True))


def configured_rungs(settings: Settings, detector: Detector, sizes: tuple[int, int]) -> tuple[Rung, ...]:
    """Return the rungs below rung 0; none without a target.

    `sizes` are the least and the largest that requests may ask for. By default there is one rung: the smallest size
    that the model was trained with. Raises BadSettings for what the model cannot do.
    """
    if settings.target_ms is None:
        return ()
    least, own = sizes[0], detector.config.shortest_side
    if settings.ladder:
        return tuple(_rung(text.strip(), detector, least) for text in settings.ladder.split(";"))
    if least == own:
        raise BadSettings(
            f"ACT_DETR_TARGET_MS: {detector.name} is not known to be trained with images smaller than its own {own} "
            "pixels, so that no rung is cheaper by default: set ACT_DETR_LADDER"
        )
    return (Rung(size=least),)


def _rung(text: str, detector: Detector, least: int) -> Rung:
    parts = _RUNG.fullmatch(text)
    if parts is None:
        raise BadSettings(f"ACT_DETR_LADDER: {text!r} is not size=PIXELS, an attention, or size=PIXELS,ATTENTION")
    size, attention = int(parts["size"]) if parts["size"] else None, parts["then"] or parts["attention"]
    own = detector.config.shortest_side
    if size is not None and not least <= size < own:
        allowed = f"{least} to {own - 1} pixels are allowed" if least < own else "it takes its own size only"
        raise BadSettings(f"ACT_DETR_LADDER: {text}: {detector.name} has size {own}; {allowed}")
    if attention is None:
        return Rung(size)
    try:
        config = detector.config.attention(attention)
    except ValueError as error:
        raise BadSettings(f"ACT_DETR_LADDER: {error}") from None
    refusal = "kmeans is the baseline of evaluations only" if config.mode == "kmeans" else None
    refusal = refusal or detector.family.refusal(config.mode)
    if refusal is not None:
        raise BadSettings(f"ACT_DETR_LADDER: {text}: {refusal}")
    return Rung(size, config)


def measure_rungs(detector: Detector, rungs: Sequence[Rung], seconds: Callable[[], float] | None = None) -> RungTimes:
    """Time whole images at every rung, the first of which changes nothing, by the calling thread.

    They are a strip, a square and the longest that is not shrunk, of noise, in which ACT finds few queries alike: its
    rungs never look faster than they are. All take turns, and the shortest time of each counts
    (`models.measurement.shortest`). `seconds` replaces the device's clock.
    """
    config = detector.config
    long, short = config.longest_side, config.shortest_side
    calls: dict[Hashable, Callable[[], object]] = {}
    rows: dict[int, list[Hashable]] = {}
    for height, width in ((max(1, long // STRIP), long), (short, short), (short, long)):
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        rows[math.prod(resized_for(config, height, width))] = [_add(calls, detector, noise, rung) for rung in rungs]
    device_clock = seconds or clock(torch.device(detector.device))
    shortest = shortest_times(calls, device_clock, seconds_in_all=SECONDS, least_rounds=2).seconds
    pixels = tuple(sorted(rows))
    return RungTimes(pixels, tuple(tuple(shortest[name] for name in rows[count]) for count in pixels))


def _add(
    calls: dict[Hashable, Callable[[], object]], detector: Detector, image: NDArray[np.uint8], rung: Rung
) -> Hashable:
    """Add a call that detects in an image as at a rung, unless there is an equal one; return its name."""
    prepared = detector.preprocess(image, rung.size)
    attention = rung.attention or detector.auto_attention(detector.tokens(prepared)).attention
    name = (prepared.height, prepared.width, attention)
    calls.setdefault(name, partial(detector.predict, [prepared], attention, [0.5], [False]))
    return name
