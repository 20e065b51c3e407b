"""Runs of one image with several attention settings: the backbone once, everything after it once per setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from models.attention_config import AttentionConfig
from models.detections import Detections
from models.detector import Detector
from models.detr.detr import DetrOutput
from models.evaluation.fidelity import ImageFidelity, matched_ious, query_drift, relative_error
from models.measurement.timing import clock
from models.postprocess import SOFTMAX, Scoring
from models.preprocess import PreparedImage


@dataclass(frozen=True, slots=True)
class AttentionRun:
    """One image detected with one attention setting.

    `output` is that of a batch of this image only. `backbone_ms` was measured once and is the same for all settings;
    `transformer_ms` (encoder, decoder, heads, box refinement, postprocessing) is this setting's own; another engine's
    has the backbone's time in it. Their sum is the time of `Detector.predict`.
    """

    output: DetrOutput
    detections: Detections
    backbone_ms: float
    transformer_ms: float

    @property
    def clusters(self) -> list[list[int]]:
        """Number of clusters of every encoder layer and head; empty where nothing is clustered."""
        counts = self.output.encoded.cluster_counts
        clusters: list[list[int]] = [] if counts is None else counts[0].tolist()
        return clusters


@torch.inference_mode()
def run_attentions(
    detector: Detector, image: PreparedImage, attentions: Sequence[AttentionConfig]
) -> dict[AttentionConfig, AttentionRun]:
    """Detect with each attention setting, in the order given; the detections are those of `Detector.predict`."""
    now = clock(torch.device(detector.device))
    start = now()
    features = detector.shared_features(image)
    backbone_ms = (now() - start) * 1e3
    network, runs = detector.network, {}
    for attention in attentions:
        start = now()
        detector.family.check(attention)
        output = network.attend(features, attention)
        logits, boxes = output.logits[0].cpu(), output.boxes_cxcywh[0].cpu()
        detected = detector.read(logits, boxes, image)
        runs[attention] = AttentionRun(output, detected, backbone_ms, (now() - start) * 1e3)
    return runs


def compare(
    exact: AttentionRun, other: AttentionRun, height: int, width: int, scoring: Scoring = SOFTMAX
) -> ImageFidelity:
    """Compare a run with that of exact attention; height and width of the original image in pixels."""
    drift, edges = query_drift(
        exact.output.logits[0], exact.output.boxes_cxcywh[0], other.output.boxes_cxcywh[0], height, width, scoring
    )
    error = relative_error(other.output.encoded.tokens.values, exact.output.encoded.tokens.values)
    ious = matched_ious(exact.detections, other.detections)
    return ImageFidelity(drift.cpu().numpy(), edges.cpu().numpy(), ious, error)
