import numpy as np
import pytest

from models.data.coco import GroundTruth
from models.data.samples import PageSamples
from models.detections import Detections
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.resampling import chance, resampled_ap

TRUTHS = [sample.truth for sample in PageSamples(8, 264, 204)]


def noisy(pixels: float) -> list[Detections]:
    """Every object detected twice, the boxes off by about so many pixels."""
    generator = np.random.default_rng(3)
    predictions = []
    for truth in TRUTHS:
        count = len(truth.labels)
        boxes = np.concatenate([truth.boxes_xyxy + generator.normal(0, pixels * k, (count, 4)) for k in (1, 3)])
        scores = generator.random(2 * count).astype(np.float32)
        predictions.append(Detections(boxes.astype(np.float32), scores, truth.labels * 2))
    return predictions


def test_draw_scores_what_its_images_score():
    predictions = noisy(4)
    draws = np.random.default_rng(5).integers(len(TRUTHS), size=(6, len(TRUTHS)))
    assert len({tuple(draw) for draw in draws}) == 6
    expected = [coco_metrics([predictions[i] for i in draw], [TRUTHS[i] for i in draw]).ap for draw in draws]
    assert resampled_ap(predictions, TRUTHS, 6, seed=5) == pytest.approx(expected, abs=1e-12)


def test_draws_leave_out_crowds_too():
    crowded = [GroundTruth(t.boxes_xyxy, t.labels, np.arange(len(t.labels)) % 2 == 1) for t in TRUTHS]
    predictions = noisy(4)
    draw = np.random.default_rng(0).integers(len(TRUTHS), size=(1, len(TRUTHS)))[0]
    expected = coco_metrics([predictions[i] for i in draw], [crowded[i] for i in draw]).ap
    assert resampled_ap(predictions, crowded, 1) == pytest.approx((expected,), abs=1e-12)
    assert resampled_ap(predictions, TRUTHS, 1) != pytest.approx((expected,), abs=1e-3)


def test_equal_predictions_lose_nothing_by_chance():
    precisions = resampled_ap(noisy(4), TRUTHS, 20)
    assert len(set(precisions)) > 10
    nothing = chance(precisions, precisions)
    assert (nothing.low, nothing.high, nothing.error) == (0, 0, 0)


def test_interval_of_a_pair_is_narrower_than_that_of_either():
    near, far = (resampled_ap(noisy(pixels), TRUTHS, 100) for pixels in (4, 5))
    lost = chance(near, far)
    assert lost.low < 100 * (np.mean(near) - np.mean(far)) < lost.high
    assert lost.error < 100 * np.hypot(np.std(near), np.std(far))
    assert lost.low > 0  # the images differ, the difference does not


def test_interval_leaves_out_a_fortieth_at_either_end():
    reference = np.zeros(201)
    lost = chance(reference, -np.arange(201) / 100)
    assert (lost.low, lost.high) == pytest.approx((5, 195))
    assert lost.error == pytest.approx(np.arange(201).std(ddof=1))


def test_chance_refuses_unequal_or_single_draws():
    with pytest.raises(ValueError, match="do not make pairs"):
        chance([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="do not make pairs"):
        chance([0.1], [0.1])
