from dataclasses import replace

import pytest

from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.samples import PageSamples
from models.evaluation.tradeoff import TradeoffRow, lost, settings, tradeoff

ROW = TradeoffRow("exact", "exact", 0, 100, 0.8, 0.9, 0.7, 1.0, 1.0, 2.0, 0, 0)


def act(r, seed, ap, cost):
    attention = str(AttentionConfig.act(16, r, seed))
    return replace(ROW, attention=attention, family="ACT, L = 16", seed=seed, ap=ap, cost=cost, edge_drift=r)


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


def test_rows_are_measured(tiny_detr):
    kinds = [AttentionConfig.exact(), AttentionConfig.act(8, 1e-5), AttentionConfig.act(8, 8.0)]
    exact, sharp, wide = tradeoff(Detector(tiny_detr), PageSamples(2, 128, 96), kinds)
    assert exact.cost == 1
    assert exact.encoder_error is None
    assert sharp.ap == pytest.approx(exact.ap, abs=1e-3)
    assert sharp.cost == pytest.approx(1 + 8 / (2 * 88))  # hashing on top
    assert wide.cost < sharp.cost
    assert wide.encoder_error > sharp.encoder_error
