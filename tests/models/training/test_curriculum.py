import pytest

from models.training.curriculum import Curriculum, Stage

CURRICULUM = Curriculum((Stage(100, (64, 80)), Stage(50, (160, 200))), warmup_steps=10)


def test_stages_follow_each_other_and_the_last_stays():
    assert [CURRICULUM.stage(step).steps for step in (0, 99, 100, 149, 1000)] == [100, 100, 50, 50, 50]
    assert CURRICULUM.steps == 150


def test_page_sizes_grow_and_depend_on_the_step_alone():
    sizes = [CURRICULUM.page_size(step) for step in range(150)]
    assert sizes == [CURRICULUM.page_size(step) for step in range(150)]
    assert all(64 <= min(size) <= 80 for size in sizes[:100])
    assert all(160 <= min(size) <= 200 for size in sizes[100:])
    portrait = sum(height >= width for height, width in sizes)
    assert 100 < portrait < 150


def test_the_rate_warms_up_peaks_and_falls_to_its_floor():
    rates = [CURRICULUM.rate(step) for step in range(151)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[150] == pytest.approx(CURRICULUM.floor)
