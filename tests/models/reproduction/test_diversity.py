import pytest
import torch

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.reproduction.diversity import diversity, spread


def test_spread_of_worked_points():
    points = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert spread(points).tolist() == [1.0, 0.0]


def test_every_layer_is_measured(tiny_detr):
    pages = [sample.image for sample in PageSamples(2, 128, 96)]
    found = diversity(Detector(tiny_detr), pages, [AttentionConfig.act(4, 1.0), AttentionConfig.act(4, 1e-4)])
    assert found.images == 2
    assert len(found.features) == 3
    assert len(found.queries) == 2
    assert min(*found.features, *found.queries) > 0
    wide, sharp = found.cluster_ratio.values()
    assert all(0 < few < many <= 1 for few, many in zip(wide, sharp, strict=True))


def test_no_images_are_refused(tiny_detr):
    with pytest.raises(ValueError, match="no images"):
        diversity(Detector(tiny_detr), [], [])
