import math

import pytest

from models.data.coco import read_coco
from models.data.coco_objects import FROM_SEGMENTATION, NEGATIVE, NO_AREA, NOT_FINITE, OUTSIDE, UNKNOWN_IMAGE


@pytest.fixture
def read(write):
    """A function that reads annotations of b.png: its ground truth and the notices."""

    def truth_and_notices(*rows):
        data = read_coco(write(rows))
        return data.images[1].truth, data.notices

    return truth_and_notices


@pytest.mark.parametrize("area", [None, "absent", [], [150], {}, "", "large", -1, 0, math.nan])
def test_a_missing_area_is_the_boxs(read, row, area):
    assert read(row(area=area))[0].areas.tolist() == [200]


def test_numbers_may_be_strings(read, row):
    truth, _ = read(row(category_id="1", bbox=["1", "2.5", "10", "20"], area="150", iscrowd="0"))
    assert truth.boxes_xyxy.tolist() == [[1, 2.5, 11, 22.5]]
    assert truth.areas.tolist() == [150]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(value, False) for value in ("0", "false", False, None, 0.0, "absent")]
    + [(value, True) for value in ("1", "true", True, 1.0)],
)
def test_a_crowd_flag_may_have_any_spelling(read, row, value, crowd):
    assert read(row(id=1), row(iscrowd=value))[0].crowd.tolist() == [False, crowd]


@pytest.mark.parametrize("bbox", [None, "absent", [], [None] * 4, [0, 0, 0, 0]])
@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 3, 12, 3, 12, 8]],
        {"size": [30, 40], "counts": [63, *[5, 25] * 9, 5, 862]},
        {"size": [30, 40], "counts": "o15i000000000000000000Uj0"},
    ],
)
def test_a_segmentation_gives_a_missing_box(read, row, bbox, segmentation):
    truth, notices = read(row(bbox=bbox, segmentation=segmentation, area=None))
    assert truth.boxes_xyxy.tolist() == [[2, 3, 12, 8]]
    assert notices.counted(FROM_SEGMENTATION) == 1


@pytest.mark.parametrize(
    ("bbox", "notice"),
    [
        ([math.nan, 2, 3, 4], NOT_FINITE),
        ([1, 2, math.inf, 4], NOT_FINITE),
        ([1, 2, -3, 4], NEGATIVE),
        ([1, 2, 0, 4], NO_AREA),
        ([0, 0, 0, 0], NO_AREA),
        ([40, 2, 3, 4], OUTSIDE),
        ([1, 30, 3, 4], OUTSIDE),
        ([-3, 2, 3, 4], OUTSIDE),
        ([-9, -9, 3, 4], OUTSIDE),
    ],
)
def test_boxes_that_nothing_can_be_learnt_from_are_left_out_and_counted(read, row, bbox, notice):
    truth, notices = read(row(id=1), row(bbox=bbox))
    assert truth.boxes_xyxy.tolist() == [[1, 2, 11, 22]]
    assert [(each.what, each.count) for each in notices.rows] == [(notice, 1)]
    assert notices.rows[0].examples == ("annotation 2 of image 10 (b.png)",)


def test_boxes_partly_outside_stay_as_they_are(read, row):
    truth, notices = read(row(bbox=[-5, -5, 100, 10]))
    assert truth.boxes_xyxy.tolist() == [[-5, -5, 95, 5]]
    assert not notices.rows


def test_annotations_of_unlisted_images_are_left_out_and_counted(read, row):
    truth, notices = read(row(id=1), row(image_id=99))
    assert len(truth.labels) == 1
    assert notices.counted(UNKNOWN_IMAGE) == 1


def test_keypoints_with_boxes_are_read(read, row):
    assert read(row(keypoints=[1, 2, 2], num_keypoints=1))[0].labels == ("cat",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bbox": [1, 2, 3]}, "bbox [1, 2, 3] is not four numbers"),
        ({"bbox": [1, 2, 3, "wide"]}, "bbox [1, 2, 3, 'wide'] is no number"),
        ({"bbox": {"x": 1}}, "bbox {'x': 1} is not four numbers"),
        ({"bbox": None}, "bbox None is not four numbers, and there is no segmentation"),
        ({"bbox": "absent"}, "bbox is missing"),
        ({"bbox": [], "segmentation": [[1, 2]]}, "taken from a segmentation that has a polygon"),
        ({"bbox": [], "segmentation": {"size": [3, 4], "counts": [0, 12]}}, "is of 4 x 3 pixels, its image of 40 x 30"),
        ({"category_id": 9}, "category_id 9 is no category of the file"),
        ({"category_id": "absent"}, "category_id is missing"),
        ({"iscrowd": "maybe"}, "iscrowd 'maybe' is neither 0 nor 1"),
    ],
)
def test_ambiguous_annotations_are_refused_with_their_position(write, row, refused, changes, said):
    message = refused(write([row(id=1), row(**changes)]))
    assert "annotation 2 of image 10 (b.png): " in message
    assert said in message
