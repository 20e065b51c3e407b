from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import BoxRefinementConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.plain_boxes import plain_boxes


def test_the_detr_alone_answers(tiny_detr):
    torch.manual_seed(0)
    refining = Detr(replace(tiny_detr.config, box_refinement=BoxRefinementConfig())).eval()
    refining.load_state_dict(tiny_detr.state_dict(), strict=False)
    for stage in refining.box_refinement.stages:
        torch.nn.init.normal_(stage.place.weight)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    detector, alone = Detector(refining), Detector(tiny_detr)
    plain = plain_boxes(detector)
    assert plain.config == alone.config
    expected, got = alone.detect(image).detections, plain.detect(image).detections
    assert np.array_equal(got.boxes_xyxy, expected.boxes_xyxy)
    assert np.array_equal(got.scores, expected.scores)
    refined = detector.detect(image).detections
    assert np.array_equal(refined.scores, expected.scores)
    assert not np.allclose(refined.boxes_xyxy, expected.boxes_xyxy)
    with pytest.raises(ValueError, match="no box refinement"):
        plain_boxes(alone)
