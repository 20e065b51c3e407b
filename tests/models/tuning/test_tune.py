from dataclasses import replace

import numpy as np
import pytest
import torch

from models.attention_config import AttentionConfig
from models.clustering.collision import collision_probability
from models.data.samples import PageSamples
from models.detector import Detector
from models.tuning.tune import Candidate, bounded_settings, measured_settings, recommended, tune


@pytest.fixture
def detector(tiny_detr):
    with torch.no_grad():
        tiny_detr.class_embed.bias[0] += 20  # confident of every query
    return Detector(tiny_detr)


@pytest.fixture
def images(detector):
    return [detector.preprocess(sample.image) for sample in PageSamples(2, 128, 96)]


def test_bounded_settings_keep_the_bound_tightly():
    for setting in bounded_settings(0.7, 0.95):
        assert 0.045 < collision_probability(0.7, setting.L, setting.r) <= 0.05


def test_measured_settings_go_from_few_clusters_to_many(detector, images):
    act = list(measured_settings(detector, images, "act", "query"))
    widths = [one.r for one in act if one.L == 16]
    assert widths == sorted(widths, reverse=True)
    assert {one.mode for one in measured_settings(detector, images, "tangent", "key")} == {"tangent"}
    assert {one.mode for one in measured_settings(detector, images, "merge", "key")} == {"merge"}


def test_candidates_are_measured_cheapest_first(detector, images):
    advanced = []
    settings = [AttentionConfig.act(16, r) for r in (1e-5, 1.0, 8.0)]
    candidates = tune(detector, images, settings, distance=0.5, advance=lambda: advanced.append(1))
    assert len(advanced) == 2
    assert [one.attention.r for one in candidates] == [8.0, 1.0, 1e-5]
    cheapest, sharp = candidates[0], candidates[-1]
    assert sharp.drift_p95 < 0.01
    assert sharp.cluster_ratio == 1
    assert sharp.attention_saved == pytest.approx(-16 / (2 * 88))
    assert cheapest.drift_mean > sharp.drift_mean
    assert cheapest.encoder_saved < cheapest.attention_saved
    assert cheapest.predicted_collisions == pytest.approx(collision_probability(0.5, 16, 8.0))
    assert 0 <= sharp.measured_collisions <= cheapest.measured_collisions <= cheapest.predicted_collisions + 0.05


def test_merging_is_measured_like_the_others(detector, images):
    most, least = tune(detector, images, [AttentionConfig.merge(0.1), AttentionConfig.merge(0.5)])
    assert (most.attention.ratio, least.attention.ratio) == (0.5, 0.1)
    assert most.cluster_ratio == pytest.approx(0.5, abs=0.02)
    assert most.attention_saved == pytest.approx(0.75, abs=0.02)
    assert 0 < least.encoder_saved < most.encoder_saved


def test_recommended_saves_most_within_the_drift():
    base = Candidate(AttentionConfig.act(16, 1.0), 0.5, 0.4, 0.2, 1.0, 3.0)
    far = replace(base, attention_saved=0.8, drift_p95=9.0)
    candidates = [far, base, replace(base, attention_saved=-0.1, drift_p95=0)]
    assert recommended(candidates, 3.0, "p95") == base
    assert recommended(candidates, 3.0, "mean") == far
    assert recommended(candidates, None, "p95") == far
    assert recommended(candidates, 1.0, "p95") is None


def test_tune_refuses_images_without_confident_boxes(tiny_detr, detector):
    with pytest.raises(ValueError, match="no images"):
        tune(detector, [], [AttentionConfig.act()])
    with torch.no_grad():
        tiny_detr.class_embed.bias[-1] += 60
    blank = detector.preprocess(np.full((128, 96, 3), 255, np.uint8))
    with pytest.raises(ValueError, match="confident of no box"):
        tune(detector, [blank], [AttentionConfig.act()])
