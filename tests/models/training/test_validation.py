from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.attention_config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.evaluation.coco_metrics import coco_metrics
from models.training.validation import as_values, best_scores, validate

EXACT, ACT = AttentionConfig.exact(), AttentionConfig.act(16, 2.0)


@pytest.fixture
def detector(tiny_detr):
    return Detector(deepcopy(tiny_detr))


@pytest.fixture
def held_out(detector):
    """Noise whose ground truth is what the model itself detects with exact attention."""
    chance = np.random.default_rng(0)
    images = [chance.integers(0, 256, (80, 64, 3), dtype=np.uint8) for _ in range(2)]
    detections = [detector.detect(image).detections.select(max_detections=3) for image in images]
    truths = [GroundTruth(own.boxes_xyxy, own.labels) for own in detections]
    return [Sample(*pair) for pair in zip(images, truths, strict=True)]


def expected_metrics(detector, held_out, **selection):
    detections = [detector.detect(sample.image).detections.select(**selection) for sample in held_out]
    return coco_metrics(detections, [sample.truth for sample in held_out])


def test_every_attention_is_scored_and_the_model_stays_as_it_is(tiny_detr, detector, held_out):
    before = {key: value.clone() for key, value in tiny_detr.state_dict().items()}
    validation = validate(tiny_detr, held_out, [EXACT, ACT], torch.device("cpu"))
    metrics = validation.metrics
    assert list(metrics) == ["exact", "act:L=16,r=2"]
    assert metrics["exact"] == expected_metrics(detector, held_out)
    assert metrics["exact"].ap > 0
    assert validation.mean_ap == pytest.approx((metrics["exact"].ap + metrics["act:L=16,r=2"].ap) / 2)
    after = tiny_detr.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_values_have_names(tiny_detr, held_out):
    metrics = validate(tiny_detr, held_out, [EXACT], torch.device("cpu")).metrics
    values = as_values(metrics)
    assert values["AP/exact"] == pytest.approx(metrics["exact"].ap)
    assert {"AP50/exact", "AP75/exact"} < values.keys()


def test_the_models_own_suppression_is_applied(tiny_detr, detector, held_out):
    """Detections that all overlap: with an nms that leaves one of them, recall cannot reach the other objects."""
    plain = validate(tiny_detr, held_out, [EXACT], torch.device("cpu")).metrics["exact"]
    served = deepcopy(tiny_detr)
    served.config = replace(tiny_detr.config, nms=0.01)
    found = validate(served, held_out, [EXACT], torch.device("cpu")).metrics["exact"]
    assert found == expected_metrics(detector, held_out, nms=0.01)
    assert found.ap < plain.ap


def test_best_scores_are_of_the_classes_that_there_are():
    boxes = np.array([[0, 0, 9, 9], [1, 1, 8, 8]], np.float32)
    found = [Detections(boxes, np.array([0.9, 0.2], np.float32), ("cat", "dog"))]
    truths = [GroundTruth(boxes, ("dog", "owl"))]
    assert best_scores(found, truths) == {"dog": pytest.approx(0.2), "owl": 0.0}
