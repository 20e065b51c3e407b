import pytest

from models.training.plan.schedule import Schedule


def test_cosine_warms_up_peaks_and_falls_to_its_floor():
    schedule = Schedule("cosine", warmup_steps=10)
    factors = [schedule.factor(step, 150) for step in range(151)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[150] == pytest.approx(schedule.floor)


def test_wsd_warms_up_stays_and_falls_along_a_line_to_its_floor():
    schedule = Schedule("wsd", warmup_steps=4, floor=0.1, decay=0.5)
    factors = [schedule.factor(step, 20) for step in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1]
    assert factors[4:11] == [1] * 7
    assert factors[10:] == pytest.approx([1 - 0.09 * step for step in range(11)])
    assert schedule.factor(50, 20) == pytest.approx(0.1)


def test_step_is_a_tenth_in_the_last_third():
    factors = [Schedule("step").factor(step, 9) for step in range(9)]
    assert factors == [1] * 6 + [0.1] * 3


def test_step_may_warm_up_too():
    assert [Schedule("step", 2).factor(step, 9) for step in range(3)] == [0.5, 1, 1]
