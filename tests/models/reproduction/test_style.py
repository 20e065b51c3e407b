import pytest

from models.reproduction.style import spaced


@pytest.mark.parametrize(
    ("heights", "apart"), [([0.5, 0.5, 0.9], [0.45, 0.55, 0.9]), ([0.0, 0.0], [0.0, 0.1]), ([], [])]
)
def test_labels_are_moved_apart(heights, apart):
    assert spaced(heights, 0.1) == pytest.approx(apart)
