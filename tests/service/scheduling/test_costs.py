"""The cost model: what it predicts from what it has seen."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scheduling.costs import CostModel, size_bucket

PIXELS = 100_000


def taught(*measured: tuple[str, int, float], times: int = 1) -> CostModel:
    """Return a model that has seen single images of (key, pixels, seconds), each so many times."""
    costs = CostModel()
    for _ in range(times):
        for key, pixels, seconds in measured:
            costs.record(key, [pixels], seconds)
    return costs


class TestBeforeTheFirstMeasurement:
    def test_nothing_is_known(self) -> None:
        assert CostModel().predict("exact", PIXELS) == CostModel().mean == 0

    def test_an_assumption_holds_by_pixels_for_every_key(self) -> None:
        costs = CostModel()
        costs.assume(PIXELS, 0.1)
        assert [costs.predict(key, PIXELS) for key in ("exact", "act")] == pytest.approx([costs.mean] * 2)
        assert costs.mean == 0.1
        assert costs.predict("exact", 8 * PIXELS) == pytest.approx(0.8)

    def test_the_first_measurement_replaces_an_assumption(self) -> None:
        costs = CostModel()
        costs.assume(PIXELS, 60.0)  # a warm-up that compiled kernels
        costs.record("exact", [PIXELS], 0.1)
        assert [costs.predict(key, PIXELS) for key in ("exact", "act")] == pytest.approx([0.1] * 2)
        assert costs.mean == pytest.approx(0.1)


class TestWhatHasRun:
    def test_is_predicted_by_key_and_size(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), ("exact", 8 * PIXELS, 1.5), ("tangent", 8 * PIXELS, 0.8), times=30)
        assert costs.predict("exact", PIXELS) == pytest.approx(0.1, rel=0.01)
        assert costs.predict("exact", 8 * PIXELS) == pytest.approx(1.5, rel=0.01)
        assert costs.predict("tangent", 8 * PIXELS) == pytest.approx(0.8, rel=0.01)

    def test_follows_a_machine_that_becomes_slower_or_faster(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), times=30)
        for seconds in (0.3, 0.05):
            for _ in range(30):
                costs.record("exact", [PIXELS], seconds)
            assert costs.predict("exact", PIXELS) == pytest.approx(seconds, rel=0.01)

    def test_a_pause_of_the_machine_is_one_surprise(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), times=30)
        costs.record("exact", [PIXELS], 3600.0)
        assert costs.predict("exact", PIXELS) <= 0.121
        costs.record("exact", [8 * PIXELS], 3600.0)  # a size that has never run
        assert costs.predict("exact", 8 * PIXELS) <= 8 * 2 * 0.121
        assert costs.mean < 0.4

    def test_a_time_of_zero_teaches_nothing(self) -> None:
        costs = taught(("exact", PIXELS, 0.0))
        assert costs.predict("exact", PIXELS) == 0
        costs.record("exact", [PIXELS], 0.1)
        assert costs.predict("exact", PIXELS) == pytest.approx(0.1)

    def test_the_images_of_a_batch_share_its_time_as_predicted(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), ("exact", 8 * PIXELS, 1.4), times=30)
        for _ in range(30):
            costs.record("exact", [PIXELS, 8 * PIXELS], 3.0)
        assert costs.predict("exact", PIXELS) == pytest.approx(0.2, rel=0.02)
        assert costs.predict("exact", 8 * PIXELS) == pytest.approx(2.8, rel=0.02)

    def test_the_images_of_a_first_batch_share_its_time_by_pixels(self) -> None:
        costs = CostModel()
        costs.record("exact", [PIXELS, 2 * PIXELS], 3.0)
        assert costs.predict("exact", PIXELS) == pytest.approx(1.0)

    def test_the_mean_is_over_images(self) -> None:
        costs = taught(*[("exact", PIXELS, 0.1)] * 4, ("exact", 8 * PIXELS, 1.1), times=30)
        assert 0.2 < costs.mean < 0.45  # 0.3, and the latest weigh most


class TestWhatHasNotRun:
    def test_a_size_between_two_others_is_between_them(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), ("exact", 4 * PIXELS, 0.8), times=30)
        assert costs.predict("exact", 2 * PIXELS) == pytest.approx(0.3, rel=0.02)  # 1.5 times the rate of the smaller

    @pytest.mark.parametrize(("pixels", "seconds"), [(PIXELS // 2, 0.05), (8 * PIXELS, 1.6)])
    def test_a_size_beyond_all_others_has_the_rate_of_the_nearest(self, pixels: int, seconds: float) -> None:
        costs = taught(("exact", PIXELS, 0.1), ("exact", 4 * PIXELS, 0.8), times=30)
        assert costs.predict("exact", pixels) == pytest.approx(seconds, rel=0.02)

    def test_a_key_has_the_rates_of_all_keys(self) -> None:
        costs = taught(("exact", PIXELS, 0.1), ("exact", 8 * PIXELS, 1.2), times=30)
        assert costs.predict("tangent", 8 * PIXELS) == pytest.approx(1.2, rel=0.02)


class TestBounds:
    def test_only_the_latest_keys_are_remembered(self) -> None:
        costs = taught(("first", PIXELS, 5.0), times=30)
        for key in range(2 * CostModel.MAX_KEYS):
            costs.record(key, [PIXELS], 0.1)
        assert costs.predict("first", PIXELS) == pytest.approx(0.1, rel=0.01)  # as of a key that has not run
        assert len(costs._by_key) == CostModel.MAX_KEYS

    @given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(1e-6, 1e6)), min_size=1, max_size=30))
    def test_a_prediction_lies_between_the_rates_that_were_measured(self, measured: list[tuple[int, float]]) -> None:
        costs = taught(*(("exact", pixels, seconds) for pixels, seconds in measured))
        rates = [seconds / pixels for pixels, seconds in measured]
        for pixels, _ in measured:
            rate = costs.predict("exact", pixels) / pixels
            assert min(rates) * (1 - 1e-9) <= rate <= max(rates) * (1 + 1e-9)
        assert len({size_bucket(pixels) for pixels, _ in measured}) <= 4 * 30 + 1

    def test_threads_may_predict_while_others_learn(self) -> None:
        costs, failures = CostModel(), []

        def use(first: int) -> None:
            try:
                for turn in range(500):
                    costs.record(turn % 300, [1 << (first + turn) % 30], 0.1)
                    assert costs.predict(turn % 300, 1 << turn % 30) > 0
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=use, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


class TestKeysThatAreNotTypical:
    def test_have_costs_of_their_own_and_change_no_others(self) -> None:
        costs = CostModel(typical=lambda key: key != "explained")
        costs.assume(PIXELS, 0.5)
        for _ in range(30):
            costs.record("explained", [PIXELS], 0.01)
        assert costs.predict("explained", PIXELS) == pytest.approx(0.01, rel=0.01)
        assert costs.predict("exact", PIXELS) == costs.mean == 0.5

    def test_begin_with_what_is_typical(self) -> None:
        costs = CostModel(typical=lambda key: key != "explained")
        costs.record("exact", [PIXELS], 0.1)
        assert costs.predict("explained", PIXELS) == pytest.approx(0.1)
