from itertools import product

import pytest
from matplotlib.colors import same_color
from PIL import Image

from models.reproduction.accuracy_time_plot import LOOKS, Point, draw, front_of, points_of
from models.reproduction.style import save, styled


def row(model, size, line, milliseconds, ap):
    return {"model": model, "size": size, "line": line, "ap": ap, "milliseconds": {"median": milliseconds}}


def document(rows):
    timed = {"rounds": 9, "threads": 2, "device": "a processor"}
    return {"data": {"images": 100}, "timed": timed, "rows": rows}


GAINS = {"exact": (1.0, 0.0), "tangent C = 16": (0.7, 0.002), "merge, half": (0.6, 0.006)} | {
    "merge, three quarters": (0.5, 0.01),
    "ACT": (0.9, 0.01),
    "ACT, twice the r": (0.8, 0.3),
}
ROWS = [
    row(model, size, line, milliseconds * GAINS[line][0], ap - GAINS[line][1])
    for (model, size, milliseconds, ap), line in product(
        [("pages-small", 352, 80, 0.88), ("pages-large", 512, 200, 0.9), ("pages-large", 704, 450, 0.93)], LOOKS
    )
]


def test_the_front_is_what_none_beats():
    slow, fast, poor, good = (
        Point("m", 1, "exact", milliseconds, ap) for milliseconds, ap in [(9, 80), (2, 70), (3, 60), (4, 80)]
    )
    assert front_of([slow, fast, poor, good]) == [fast, good]


def test_two_equal_points_do_not_hide_each_other_from_the_front():
    points = [Point("m", size, "exact", 5.0, 80.0) for size in (1, 2)]
    assert len(front_of(points)) == 2


def test_the_plot_has_a_line_for_each_model_and_attention(texts):
    with styled():
        figure = draw(document(ROWS))
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if line.get_marker() in ("o", "s") and len(line.get_xdata())]
    assert len(drawn) == 2 * len(LOOKS) - 2  # what lies too low is left out
    assert axes.get_xscale() == "log"
    large = next(line for line in drawn if line.get_marker() == "s" and same_color(line.get_color(), LOOKS["exact"][0]))
    assert list(large.get_ydata()) == pytest.approx([90, 93])
    shown = texts(figure)
    assert {"pages-small", "pages-large", *LOOKS} <= shown
    assert "large 704, exact" in shown
    assert any("2 threads, a processor" in text for text in shown)


def test_the_picture_is_a_png_and_the_same_each_time(tmp_path):
    files = [tmp_path / "one.png", tmp_path / "other.png"]
    with styled():
        for file in files:
            save(draw(document(ROWS)), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with Image.open(files[0]) as picture:
        assert picture.width > 1000


def test_points_need_times():
    with pytest.raises(ValueError, match="before the times"):
        points_of({"rows": ROWS})
