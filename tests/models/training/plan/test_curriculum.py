import pytest

from models.training.plan.curriculum import Curriculum, Stage

CURRICULUM = Curriculum((Stage(100, (64, 80)), Stage(50, (160, 200))))


def test_stages_follow_each_other_and_the_last_stays():
    assert [CURRICULUM.stage(step).steps for step in (0, 99, 100, 149, 1000)] == [100, 100, 50, 50, 50]
    assert CURRICULUM.steps == 150


def test_page_sizes_grow_and_depend_only_on_the_step():
    sizes = [CURRICULUM.page_size(step) for step in range(150)]
    assert sizes == [CURRICULUM.page_size(step) for step in range(150)]
    assert all(64 <= min(size) <= 80 for size in sizes[:100])
    assert all(160 <= min(size) <= 200 for size in sizes[100:])
    portrait = sum(height >= width for height, width in sizes)
    assert 100 < portrait < 150


def test_stages_are_read_from_text_and_written_back():
    text = "2400:192-224,90:336-368"
    assert Curriculum.parse(text).stages == (Stage(2400, (192, 224)), Stage(90, (336, 368)))
    assert str(Curriculum.parse(text)) == text


@pytest.mark.parametrize("text", ["", "100", "100:64", "100:a-b", "0:64-80", "100:80-64", "100:8-16", "1:64-80,"])
def test_other_stages_are_refused(text):
    with pytest.raises(ValueError, match="stage"):
        Curriculum.parse(text)
