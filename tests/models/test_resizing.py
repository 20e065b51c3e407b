import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.preprocess import resized
from models.resizing import LARGEST, Resizing

SIDES = st.integers(1, 5000)
SIZES = st.tuples(st.integers(1, 900), st.integers(1, 900))


@given(SIDES, SIDES)
def test_by_sides_only_the_rounding_differs_from_the_published_rule(height: int, width: int) -> None:
    ours, published = Resizing().resized(height, width, 352, 640), resized(height, width, 352, 640)
    assert min(ours) == min(published)
    slack = max(ours) / min(ours) / 2  # that of half a pixel of the shorter side
    assert max(published) - 1 <= max(ours) <= 640 + slack


def test_where_the_longest_side_is_the_limit_it_is_reached() -> None:
    assert Resizing().resized(500, 2000, 800, 1333) == (333, 1333)
    assert resized(500, 2000, 800, 1333) == (333, 1332)


@given(SIDES, SIDES, SIZES)
def test_inside_keeps_the_shape_and_reaches_one_side(height: int, width: int, size: tuple[int, int]) -> None:
    new = Resizing("inside", size).resized(height, width, 1, 1)
    assert all(1 <= side <= limit for side, limit in zip(new, size, strict=True))
    scale = min(size[0] / height, size[1] / width)
    assert abs(new[0] - height * scale) <= 1
    assert abs(new[1] - width * scale) <= 1


def test_exact_is_exact() -> None:
    assert Resizing("exact", (30, 50)).resized(900, 1, 1, 1) == (30, 50)


@pytest.mark.parametrize(("size", "new"), [((30, 50), (30, 50)), ((2666, 3), (2666, 3)), ((5332, 200), (2666, 100))])
def test_images_keep_their_size_up_to_a_limit(size: tuple[int, int], new: tuple[int, int]) -> None:
    assert max(new) <= LARGEST
    assert Resizing("none").resized(*size, 1, 1) == new


@given(SIDES, SIDES, SIZES, st.sampled_from(["sides", "none"]))
def test_resized_images_fit_their_canvas(height: int, width: int, canvas: tuple[int, int], rule: str) -> None:
    new = Resizing(rule, None, canvas).resized(height, width, 352, 640)
    assert all(1 <= side <= limit for side, limit in zip(new, canvas, strict=True))


def test_training_keeps_the_canvas() -> None:
    assert Resizing("exact", (3, 4), (5, 6)).by_sides() == Resizing("sides", None, (5, 6))


@pytest.mark.parametrize(
    "fields",
    [("inside",), ("exact",), ("none", (3, 4)), ("exact", (0, 4)), ("exact", (3, 4), (2, 9)), ("sides", None, (0, 1))],
)
def test_contradictory_rules_are_refused(fields: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"size|canvas"):
        Resizing(*fields)
