from dataclasses import replace

import pytest

from models.config import AttentionConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.evaluate import EXACT, evaluate
from models.evaluation.resampling import RESAMPLES
from models.reproduction.tradeoff import TradeoffRow, lost, lost_interval, settings, tradeoff

ROW = TradeoffRow("exact", "exact", 0, 100, 0.8, 0.9, 0.7, 1.0, 1.0, 2.0, 0, 0)


def act(r, seed, ap, cost):
    attention = str(AttentionConfig.act(16, r, seed))
    ends = (100 * (0.8 - ap) - 1, 100 * (0.8 - ap) + 2)
    row = replace(ROW, attention=attention, family="ACT, L = 16", seed=seed, ap=ap, cost=cost, edge_drift=r)
    return replace(row, lost_interval=ends, lost_error=r, lost_since=(ends[0] + 5, ends[1] + 5))


ROWS = [ROW, act(1, 0, 0.79, 0.8), act(1, 1, 0.77, 0.8), act(4, 0, 0.7, 0.3), act(4, 1, 0.6, 0.5)]


def test_seeds_become_one_setting():
    exact, fine, coarse = settings(ROWS)
    assert exact.edge_drift is None
    assert (fine.attention, fine.seeds) == ("act:L=16,r=1", 2)
    assert (fine.ap, fine.lowest_ap, fine.highest_ap) == pytest.approx((0.78, 0.77, 0.79))
    assert coarse.cost == pytest.approx(0.4)
    assert coarse.edge_drift == 4


def test_loss_at_a_cost_lies_between_the_settings_beside_it():
    found = settings(ROWS)
    assert lost(found, "ACT, L = 16", 0.6) == pytest.approx(100 * (0.8 - (0.65 + 0.78) / 2))
    assert lost(found, "ACT, L = 16", 0.9) == pytest.approx(2)
    assert lost(found, "ACT, L = 16", 0.3) is None
    assert lost(found, "ACT, L = 16", 0.9, reference_ap=0.81) == pytest.approx(3)


def test_intervals_go_with_the_loss():
    found = settings(ROWS)
    assert found[1].lost_interval == pytest.approx((1, 4))
    assert found[1].lost_error == 1
    for cost in (0.6, 0.9):
        points = lost(found, "ACT, L = 16", cost)
        assert lost_interval(found, "ACT, L = 16", cost) == pytest.approx((points - 1, points + 2))
        assert lost_interval(found, "ACT, L = 16", cost, since=True) == pytest.approx((points + 4, points + 7))
    assert lost_interval(found, "ACT, L = 16", 0.3) is None
    assert lost_interval(found, "exact", 1) is None
    assert hash(found[1]) == hash(settings(ROWS)[1])


def test_rows_are_measured(tiny_detr):
    kinds = [AttentionConfig.exact(), AttentionConfig.act(8, 1e-5), AttentionConfig.act(8, 8.0)]
    exact, sharp, wide = tradeoff(Detector(tiny_detr), PageSamples(2, 128, 96), kinds)
    assert exact.cost == 1
    assert exact.encoder_error is None
    assert sharp.ap == pytest.approx(exact.ap, abs=1e-3)
    assert sharp.cost == pytest.approx(1 + 8 / (2 * 88))  # hashing on top
    assert wide.cost < sharp.cost
    assert wide.encoder_error > sharp.encoder_error
    assert exact.lost_interval is None
    low, high = wide.lost_interval
    assert low <= high
    assert wide.lost_error >= 0
    assert wide.lost_since is None


def test_what_is_lost_since_before_distillation_is_paired_with_it(tiny_detr):
    detector, pages = Detector(tiny_detr), PageSamples(2, 128, 96)
    (before,) = evaluate(detector, pages, (EXACT,), RESAMPLES)
    exact, wide = tradeoff(detector, pages, [EXACT, AttentionConfig.act(8, 8.0)], before)
    assert exact.lost_since == (0, 0)
    assert wide.lost_since == wide.lost_interval
