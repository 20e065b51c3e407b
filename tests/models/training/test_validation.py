from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import AttentionConfig
from models.data.coco import GroundTruth
from models.detections import Detections
from models.detector import Detector
from models.evaluation.coco_metrics import coco_metrics
from models.training.validation import as_values, best_scores, validate

EXACT, ACT = AttentionConfig.exact(), AttentionConfig.act(16, 2.0)


class Noise:
    """Images whose ground truth is what the model itself finds with exact attention."""

    def __init__(self, detr) -> None:
        self.detector, chance = Detector(deepcopy(detr)), np.random.default_rng(0)
        self.samples = []
        for _ in range(2):
            image = chance.integers(0, 256, (80, 64, 3), dtype=np.uint8)
            found = self.detector.detect(image).detections.select(max_detections=3)
            self.samples.append((image, GroundTruth(found.boxes_xyxy, found.labels)))

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, place):
        return self.samples[place]


def test_scores_every_attention_and_leaves_the_model_alone(tiny_detr):
    held_out = Noise(tiny_detr)
    before = {key: value.clone() for key, value in tiny_detr.state_dict().items()}
    validation = validate(tiny_detr, held_out, [EXACT, ACT], torch.device("cpu"))
    metrics = validation.metrics
    assert list(metrics) == ["exact", "act:L=16,r=2"]
    found = [held_out.detector.detect(image).detections for image, _ in held_out.samples]
    assert metrics["exact"] == coco_metrics(found, [truth for _, truth in held_out.samples])
    assert metrics["exact"].ap > 0
    assert validation.mean_ap == pytest.approx((metrics["exact"].ap + metrics["act:L=16,r=2"].ap) / 2)
    after = tiny_detr.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_values_have_names(tiny_detr):
    metrics = validate(tiny_detr, Noise(tiny_detr), [EXACT], torch.device("cpu")).metrics
    values = as_values(metrics)
    assert values["AP/exact"] == pytest.approx(metrics["exact"].ap)
    assert {"AP50/exact", "AP75/exact"} < values.keys()


def test_the_models_own_suppression_is_applied(tiny_detr):
    """Detections that all overlap: with an nms that leaves one of them, recall cannot reach the other objects."""
    held_out = Noise(tiny_detr)
    plain = validate(tiny_detr, held_out, [EXACT], torch.device("cpu")).metrics["exact"]
    served = deepcopy(tiny_detr)
    served.config = replace(tiny_detr.config, nms=0.01)
    found = validate(served, held_out, [EXACT], torch.device("cpu")).metrics["exact"]
    wanted = [held_out.detector.detect(image).detections.select(nms=0.01) for image, _ in held_out.samples]
    assert found == coco_metrics(wanted, [truth for _, truth in held_out.samples])
    assert found.ap < plain.ap


def test_best_scores_are_of_the_classes_that_there_are():
    boxes = np.array([[0, 0, 9, 9], [1, 1, 8, 8]], np.float32)
    found = [Detections(boxes, np.array([0.9, 0.2], np.float32), ("cat", "dog"))]
    truths = [GroundTruth(boxes, ("dog", "owl"))]
    assert best_scores(found, truths) == {"dog": pytest.approx(0.2), "owl": 0.0}
