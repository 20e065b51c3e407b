import pytest

from models.reproduction.tradeoff_settings import lost_at, settings_of


def row(attention, ap, cost, **fields):
    lost = 100 * (0.8 - ap)
    intervals = {"lost_interval": [lost - 1, lost + 2], "lost_since": [lost + 4, lost + 7]}
    costs = {"cost": cost, "encoder_gflops": 3 + 2 * cost}
    return {"attention": attention, "ap": ap} | costs | intervals | fields


ROWS = [
    row("exact", 0.8, 1.0, edge_drift=None, lost_interval=None),
    row("act:L=16,r=1", 0.79, 0.8, edge_drift=1),
    row("act:L=16,r=1,seed=1", 0.77, 0.8, edge_drift=2),
    row("act:L=16,r=4", 0.7, 0.3, edge_drift=4),
    row("act:L=16,r=4,seed=1", 0.6, 0.5, edge_drift=4),
]


def test_rows_that_differ_in_the_seed_are_one_setting():
    exact, fine, coarse = settings_of(ROWS)
    assert exact["edge_drift"] is None
    assert (fine.attention, fine.family, len(fine.rows)) == ("act:L=16,r=1", "ACT, L = 16", 2)
    assert (fine["ap"], fine["edge_drift"], coarse["cost"]) == pytest.approx((0.78, 1.5, 0.4))
    assert fine["lost_interval"] == pytest.approx([1, 4])
    assert exact["lost_interval"] is None
    assert (exact["encoder_cost"], coarse["encoder_cost"]) == pytest.approx((1, 3.8 / 5))


@pytest.mark.parametrize(
    ("cost", "before_ap", "lost"), [(0.6, None, 8.5), (0.9, None, 2), (0.9, 0.81, 3), (0.3, None, None)]
)
def test_loss_at_a_cost_lies_between_the_settings_beside_it(cost, before_ap, lost):
    points, interval = lost_at(settings_of(ROWS), "ACT, L = 16", cost, before_ap)
    assert points == (lost and pytest.approx(lost))
    if before_ap is not None:
        assert interval == pytest.approx((2 + 4, 2 + 7))
    else:
        assert interval == (lost and pytest.approx((lost - 1, lost + 2)))


def test_a_loss_without_an_interval_has_none():
    assert lost_at(settings_of(ROWS), "exact", 1) == (0, None)
