"""The images of a reproduction's parts, and what goes into the encoder for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import torch

from models.data.open_samples import open_samples
from models.data.samples import PageSamples, Sample, Samples
from models.detector import Detector
from models.evaluation.attention_inputs import AttentionInputs, attention_inputs
from models.images import PackedTokens
from models.reproduction.reproduce import Plan

CALIBRATION_IMAGES: Final = 2


def samples_at(plan: Plan, detector: Detector, count: int) -> Samples:
    """Images for a detector's input size: generated pages no smaller than that, or the first of the given data."""
    if plan.data is not None and not plan.data.startswith("pages"):
        return open_samples(plan.data, limit=count)
    width = max(612, detector.config.shortest_side)
    return PageSamples(count, round(width * 792 / 612), width)


def calibration(detector: Detector, samples: Iterable[Sample]) -> list[AttentionInputs]:
    """What attention is given in all layers for the first images: what ACT's r are found on."""
    images = islice(samples, CALIBRATION_IMAGES)
    tokens = (detector.encoder_tokens(detector.preprocess(sample.image)) for sample in images)
    with torch.inference_mode():
        return [layer for packed in tokens for layer in attention_inputs(detector, packed)]


def encoder_tokens(detector: Detector, samples: Iterable[Sample]) -> Iterator[PackedTokens]:
    """The tokens of each image by itself, as they enter the encoder."""
    for sample in samples:
        with torch.inference_mode():
            yield detector.encoder_tokens(detector.preprocess(sample.image))


def described(detector: Detector, samples: Samples) -> dict[str, Any]:
    """Which images at which size: what the results of a part depend on."""
    config = detector.config
    return {**samples.described(), "shortest_side": config.shortest_side, "longest_side": config.longest_side}


def counted(samples: Iterable[Sample], report: Callable[[int], None]) -> Iterator[Sample]:
    """The same samples; `report` is told how many are done."""
    for done, sample in enumerate(samples, 1):
        yield sample
        report(done)
