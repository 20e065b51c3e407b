"""The images that claims are measured on, and what the encoder is given for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from models.attention.layer_inputs import AttentionInputs
from models.data.open_samples import open_samples
from models.data.samples import PageSamples, Sample, Samples
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.images import PackedTokens
from models.reproduction.claim import Plan

CALIBRATION_IMAGES: Final = 2


def images_for(plan: Plan, detector: Detector, count: int) -> Samples:
    """Return generated pages no smaller than a detector's input, or the first images of the given data.

    Without data the pages are `journals`, which the published results are of; `pages` are of all kinds.
    """
    if plan.data is not None and not plan.data.startswith("pages"):
        return open_samples(plan.data, limit=count)
    width = max(612, detector.config.shortest_side)
    return PageSamples(count, round(width * 792 / 612), width, "pages" if plan.data else "journals")


def described(detector: Detector, samples: Samples) -> dict[str, Any]:
    """Describe which images are used and at which size."""
    config = detector.config
    return {**samples.described(), "shortest_side": config.shortest_side, "longest_side": config.longest_side}


def encoder_tokens(detector: Detector, samples: Iterable[Sample]) -> Iterator[PackedTokens]:
    """Yield the tokens that enter the encoder, each image packed by itself."""
    for sample in samples:
        yield detector.encoder_tokens(detector.preprocess(sample.image))


def calibration_layers(detector: Detector, samples: Iterable[Sample]) -> list[AttentionInputs]:
    """Return the attention inputs of all layers for the first images: ACT's r are chosen on them."""
    images = islice(samples, CALIBRATION_IMAGES)
    return [layer for tokens in encoder_tokens(detector, images) for layer in attention_inputs(detector, tokens)]
