import numpy as np
import pytest
from PIL import Image

from models.data.pages.canvas import Canvas
from models.data.pages.fonts import Font, sized


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_what_a_turned_sheet_holds_keeps_its_boxes(quarters: int) -> None:
    canvas = Canvas(200, 240)
    sheet = canvas.sheet(60, 90)
    with sheet.annotate("table"):
        sheet.rectangle(10, 20, 49, 34, fill=(0, 0, 0))
    canvas.place(sheet, 30, 40, quarters)
    page = np.asarray(canvas.flatten(200, 240, Image.Resampling.NEAREST).convert("L"))
    rows, columns = np.nonzero(page < 128)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert canvas.boxes == [found]
    assert canvas.classes == ["table"]


def test_slanted_text_is_centred_and_at_its_angle() -> None:
    canvas = Canvas(200, 200)
    canvas.slanted_text("APPROVED", 100, 100, sized(Font(None), 24), 90)
    page = np.asarray(canvas.flatten(200, 200, Image.Resampling.NEAREST).convert("L"))
    rows, columns = np.nonzero(page < 128)
    assert rows.max() - rows.min() > 3 * (columns.max() - columns.min())
    assert abs((rows.min() + rows.max()) / 2 - 100) < 4
    assert canvas.boxes == []


@pytest.mark.parametrize(("name", "lined"), [("text", True), ("title", True), ("list", True), ("table", False)])
def test_boxes_of_text_may_hold_whole_lines_whatever_their_letters(name: str, lined: bool) -> None:
    face = sized(Font(None), 30)
    boxes = []
    for line_boxes in (False, True):
        canvas = Canvas(100, 200, line_boxes)
        with canvas.annotate(name):
            canvas.text("xx", 20, 60, face)
        boxes.append(canvas.boxes[0])
    ink, line = boxes
    assert (ink[0], ink[2]) == (line[0], line[2])
    assert (line[3] - line[1] > 1.1 * face.size) == lined
    assert (line == ink) != lined
