import numpy as np
import pytest
import torch

from models.data.coco import GroundTruth
from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.reproduction.redundancy import STEPS, attention_maps, map_distances, redundancy


@pytest.fixture
def sample():
    return next(iter(PageSamples(1, 128, 96)))


def test_maps_times_values_are_exact_attention(tiny_detr, sample, attention_rounding):
    detector = Detector(tiny_detr)
    layer = attention_inputs(detector, detector.encoder_tokens(detector.preprocess(sample.image)))[0]
    exact = torch.nn.functional.scaled_dot_product_attention(*(x[0].double() for x in (layer.q, layer.k, layer.v)))
    attended = attention_maps(layer, range(layer.tokens)) @ layer.v[0]
    assert ((attended.double() - exact).abs() <= attention_rounding(layer.q, layer.k, layer.v)[0]).all()


def test_positions_are_the_largest_objects_and_the_furthest(tiny_detr):
    boxes = np.array([[8, 8, 72, 56], [64, 100, 80, 108], [40, 60, 60, 70]], np.float32)
    image = np.full((128, 96, 3), 255, np.uint8)
    found = redundancy(Detector(tiny_detr), image, GroundTruth(boxes, ("text",) * 3), (0, 1))
    # 128 x 96 pixels are resized to 85 x 64, stride 8: 11 x 8 positions of 12 pixels of the original.
    assert (found.height, found.width) == (11, 8)
    assert found.positions == ((2, 3), (2, 4), (8, 6))
    assert set(found.maps) == {0, 1}
    assert [sum(values) for values in found.maps[1]] == pytest.approx([1.0] * 3, rel=1e-5)
    assert len(found.maps[0][0]) == 88


def test_an_image_without_objects_has_positions_too(tiny_detr):
    image = np.full((128, 96, 3), 255, np.uint8)
    found = redundancy(Detector(tiny_detr), image, GroundTruth(np.zeros((0, 4), np.float32), ()), (0,))
    assert found.positions[0] != found.positions[2]


def test_maps_differ_more_the_further_apart(tiny_detr, sample):
    distances = map_distances(Detector(tiny_detr), sample.image, pairs=60)
    assert len(distances) == 2
    for layer in distances:
        assert len(layer) == len(STEPS) + 1
        assert all(0 <= distance <= 1 for distance in layer)
        assert layer[0] < layer[-1]
