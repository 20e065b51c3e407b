"""One image through several kinds of attention: the backbone once, everything after it in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from models.attention.factory import make_attention
from models.config import AttentionConfig
from models.detections import Detections
from models.detector import Detector
from models.detr.detr import DetrOutput, Features
from models.evaluation.fidelity import ImageFidelity, matched_ious, query_drift, relative_error
from models.measurement.timing import clock
from models.postprocess import detections
from models.preprocess import PreparedImage


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of one image with one kind of attention.

    `output` is of a batch of this image alone. `backbone_ms` was measured once for all kinds, `transformer_ms`
    (encoder, decoder, heads, box refinement, postprocessing) by itself: their sum is what `Detector.predict` takes.
    """

    output: DetrOutput
    detections: Detections
    backbone_ms: float
    transformer_ms: float

    @property
    def clusters(self) -> list[list[int]]:
        """Clusters of every encoder layer and head; empty where nothing is clustered."""
        counts = self.output.encoded.cluster_counts
        clusters: list[list[int]] = [] if counts is None else counts[0].tolist()
        return clusters


@torch.inference_mode()
def side_by_side(
    detector: Detector, image: PreparedImage, attentions: Sequence[AttentionConfig]
) -> dict[AttentionConfig, Answer]:
    """Detect with each kind of attention, in the order given; the detections are those of `Detector.predict`."""
    now = clock(torch.device(detector.device))
    began = now()
    features = detector.features(image)
    backbone_ms = (now() - began) * 1e3
    return {attention: _answer(detector, image, features, attention, backbone_ms, now) for attention in attentions}


def compare(exact: Answer, other: Answer, height: int, width: int) -> ImageFidelity:
    """How near one answer is to that of exact attention; height and width of the original image in pixels."""
    drift, edges = query_drift(
        exact.output.logits[0], exact.output.boxes_cxcywh[0], other.output.boxes_cxcywh[0], height, width
    )
    error = relative_error(other.output.encoded.tokens.values, exact.output.encoded.tokens.values)
    ious = matched_ious(exact.detections, other.detections)
    return ImageFidelity(drift.cpu().numpy(), edges.cpu().numpy(), ious, error)


def _answer(
    detector: Detector,
    image: PreparedImage,
    features: Features,
    attention: AttentionConfig,
    backbone_ms: float,
    now: Callable[[], float],
) -> Answer:
    began = now()
    detr = detector.detr
    output = detr.decode(features, detr.transformer.encoder(features.tokens, make_attention(attention)))
    found = detections(output.logits[0].cpu(), output.boxes_cxcywh[0].cpu(), image, detector.config.labels)
    return Answer(output, found, backbone_ms, (now() - began) * 1e3)
