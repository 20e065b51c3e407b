import json
import math
import os

import numpy as np
import pytest
from PIL import Image

from models.data.coco import GroundTruth, count_images, read_classes, read_coco
from models.data.coco_document import SAME_NAME
from models.data.coco_files import CocoFiles
from models.data.coco_images import LISTED_TWICE
from models.data.coco_objects import (
    FROM_SEGMENTATION,
    NEGATIVE,
    NO_AREA,
    NOT_FINITE,
    OUTSIDE,
    UNKNOWN_IMAGE,
)
from models.data.findings import DataError
from models.data.image_sizes import AS_STORED, AS_TURNED, FROM_IMAGE, UNDECIDED

CATS = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
GOOD = {"id": 1, "image_id": 10, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 150, "iscrowd": 0}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes annotations of two images, 40 x 30 pixels, that are there."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)

    def files(annotations=(GOOD,), images=None, categories=CATS, **more):
        listed = [{"id": 10 * n, "file_name": f"{name}.png", "height": 30, "width": 40} for n, name in enumerate("ab")]
        document = {"images": listed if images is None else images, "categories": categories}
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(document | {"annotations": list(annotations)} | more))
        return CocoFiles(path, (tmp_path,))

    return files


def odd(**changes):
    """The good annotation with changes; None of a field: without it."""
    row = GOOD | {"id": 2} | changes
    return {name: value for name, value in row.items() if value != "absent"}


def refused(files):
    with pytest.raises(DataError) as caught:
        read_coco(files)
    assert str(files.annotations) in str(caught.value)
    return str(caught.value)


def test_images_come_in_the_files_order_with_what_is_in_them(write):
    rows = [GOOD, odd(category_id=5, iscrowd=1, bbox=[0, 0, 5.5, 5], area=9)]
    data = read_coco(write(rows))
    empty, full = data.images
    assert (empty.file_name, empty.height, empty.width) == ("a.png", 30, 40)
    assert empty.truth.boxes_xyxy.shape == (0, 4)
    assert full.truth.labels == ("cat", "dog")
    assert full.truth.boxes_xyxy.tolist() == [[1, 2, 11, 22], [0, 0, 5.5, 5]]
    assert full.truth.crowd.tolist() == [False, True]
    assert full.truth.areas.tolist() == [150, 9]
    assert full.truth.objects == 1
    assert data.classes == ("cat", "dog")
    assert data.notices.rows == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_obstacle(write, encoding):
    files = write(categories=[{"id": 1, "name": "caf\u00e9"}])
    text = files.annotations.read_text()
    files.annotations.write_text(text, encoding=encoding)
    assert read_coco(files).classes == ("caf\u00e9",)
    assert read_classes(files.annotations) == ("caf\u00e9",)
    assert count_images(files.annotations) == 2


@pytest.mark.parametrize("area", [None, "absent", [], [150], {}, "", "large", -1, 0, math.nan])
def test_an_area_that_is_none_is_the_boxs(write, area):
    data = read_coco(write([odd(area=area)]))
    assert data.images[1].truth.areas.tolist() == [200]


def test_numbers_may_be_strings(write):
    image = {"id": "10", "file_name": "b.png", "height": "30", "width": "40.0"}
    row = odd(image_id=10, category_id="1", bbox=["1", "2.5", "10", "20"], area="150", iscrowd="0")
    (found,) = read_coco(write([row], [image])).images
    assert (found.height, found.width) == (30, 40)
    assert found.truth.boxes_xyxy.tolist() == [[1, 2.5, 11, 22.5]]
    assert found.truth.areas.tolist() == [150]


@pytest.mark.parametrize(("image", "annotation"), [("10", 10), (10, "10"), ("x-1", "x-1"), (10.0, "010")])
def test_ids_of_any_kind_meet(write, image, annotation):
    rows = [odd(image_id=annotation, category_id="1")]
    images = [{"id": image, "file_name": "b.png", "height": 30, "width": 40}]
    assert read_coco(write(rows, images)).images[0].truth.labels == ("cat",)


@pytest.mark.parametrize("value", ["0", "false", False, None, 0.0, "absent"])
def test_what_is_no_crowd(write, value):
    assert read_coco(write([odd(iscrowd=value)])).images[1].truth.crowd.tolist() == [False]


@pytest.mark.parametrize("value", ["1", "true", True, 1.0])
def test_what_is_a_crowd(write, value):
    assert read_coco(write([GOOD, odd(iscrowd=value)])).images[1].truth.crowd.tolist() == [False, True]


@pytest.mark.parametrize("bbox", [None, "absent", [], [None] * 4, [0, 0, 0, 0]])
@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 3, 12, 3, 12, 8]],
        {"size": [30, 40], "counts": [63, *[5, 25] * 9, 5, 862]},
        {"size": [30, 40], "counts": "o15i000000000000000000Uj0"},
    ],
)
def test_a_segmentation_gives_a_missing_box(write, bbox, segmentation):
    data = read_coco(write([odd(bbox=bbox, segmentation=segmentation, area=None)]))
    (box,) = data.images[1].truth.boxes_xyxy.tolist()
    assert box == [2, 3, 12, 8]
    assert data.notices.counted(FROM_SEGMENTATION) == 1


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
def test_boxes_that_nothing_can_be_learnt_from_are_left_out_and_counted(write, bbox, notice):
    data = read_coco(write([GOOD, odd(bbox=bbox)]))
    assert data.images[1].truth.boxes_xyxy.tolist() == [[1, 2, 11, 22]]
    (row,) = data.notices.rows
    assert (row.what, row.count) == (notice, 1)
    assert row.examples == ("annotation 2 of image 10 (b.png)",)


def test_boxes_partly_outside_stay_as_they_are(write):
    data = read_coco(write([odd(bbox=[-5, -5, 100, 10])]))
    assert data.images[1].truth.boxes_xyxy.tolist() == [[-5, -5, 95, 5]]
    assert not data.notices.rows


def test_annotations_of_images_that_are_not_listed_are_left_out_and_counted(write):
    data = read_coco(write([GOOD, odd(image_id=99)]))
    assert len(data.images[1].truth.labels) == 1
    assert data.notices.counted(UNKNOWN_IMAGE) == 1


def test_a_limit_takes_the_first_and_asks_for_no_others(write):
    rows = [odd(image_id=0), odd(image_id=10, bbox=3), odd(image_id=99, bbox=None)]
    images = [{"id": 0, "file_name": "a.png"}, {"id": 10, "file_name": "gone.png"}]
    data = read_coco(write(rows, images), limit=1)
    assert [image.file_name for image in data.images] == ["a.png"]
    assert data.notices.counted(UNKNOWN_IMAGE) == 1
    assert data.notices.counted(FROM_IMAGE) == 1


@pytest.mark.parametrize("side", [None, "absent", 0])
def test_a_missing_size_is_the_images(write, side):
    image = {"id": 10, "file_name": "b.png", "height": side, "width": side}
    image = {name: value for name, value in image.items() if value != "absent"}
    data = read_coco(write([GOOD, odd(bbox=[35, 2, 10, 4])], [image]))
    assert (data.images[0].height, data.images[0].width) == (30, 40)
    assert data.notices.counted(FROM_IMAGE) == 1


def test_orientations_are_settled_and_said(write, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("a.png", (40, 30)), ("b.png", (40, 30)), ("c.png", (30, 30))):
        Image.new("RGB", size).save(tmp_path / name, exif=exif)
    sizes = {"a.png": (30, 40), "b.png": (40, 30), "c.png": (30, 30)}
    images = [{"id": n, "file_name": name, "height": h, "width": w} for n, (name, (h, w)) in enumerate(sizes.items())]
    data = read_coco(write([odd(image_id=1)], images))
    assert [(image.height, image.width) for image in data.images] == list(sizes.values())
    assert [data.notices.counted(what) for what in (AS_STORED, AS_TURNED, UNDECIDED)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("categories", "classes"),
    [
        ([{"id": 0, "name": "a"}, {"id": 1, "name": "b"}], ("a", "b")),
        ([{"id": 10**12, "name": "a"}, {"id": 1, "name": "b"}, {"id": 700, "name": "c"}], ("b", "c", "a")),
        ([{"id": "1", "name": "b, c"}, {"id": "w", "name": "a"}], ("b, c", "a")),
        ([{"id": 1, "name": "cafe\u0301"}, {"id": 2, "name": " Z\u00fcrich "}], ("caf\u00e9", "Z\u00fcrich")),
        ([{"id": 1, "name": 7}, {"id": 2, "name": "8"}], ("7", "8")),
    ],
)
def test_classes_are_in_the_order_of_their_ids(write, categories, classes):
    files = write([odd(category_id=categories[0]["id"])], categories=categories)
    assert read_coco(files).classes == read_classes(files.annotations) == classes


def test_categories_of_one_name_are_one_class_and_it_is_said(write):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    data = read_coco(write([GOOD, odd(category_id=3)], categories=categories))
    assert data.classes == ("cat", "dog")
    assert data.images[1].truth.labels == ("cat", "cat")
    assert [(row.what, row.examples) for row in data.notices.rows] == [(SAME_NAME, ("cat: 1 and 3",))]


def test_a_category_that_only_groups_others_is_not_a_class(write):
    group = {"id": 0, "name": "animals", "supercategory": "none"}
    cat = {"id": 3, "name": "cat", "supercategory": "animals"}
    dog = {"id": 7, "name": "dog", "supercategory": "dog"}
    assert read_coco(write([odd(category_id=3)], categories=[dog, group, cat])).classes == ("cat", "dog")
    used = read_coco(write([odd(category_id=0)], categories=[dog, group, cat]))
    assert used.classes == ("animals", "cat", "dog")


@pytest.mark.parametrize(
    ("row", "said"),
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
def test_what_would_take_a_guess_is_refused_with_its_place(write, row, said):
    message = refused(write([GOOD, odd(**row)]))
    assert "annotation 2 of image 10 (b.png): " in message
    assert said in message


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"file_name": "b.png", "height": 30, "width": 40}, "images[0] (b.png): id is missing"),
        ({"id": 10, "height": 30, "width": 40}, "images[0]: file_name is missing"),
        ({"id": 10, "file_name": " ", "height": 30, "width": 40}, "file_name ' ' is empty"),
        ({"id": 10, "file_name": 3, "height": 30, "width": 40}, "file_name 3 is no name"),
        ({"id": 10, "file_name": "b.png", "height": "tall", "width": 40}, "images[0] (b.png): height 'tall' is no"),
        ({"id": 10, "file_name": "b.png", "height": 40, "width": 30}, "width and height 30 x 40 are not those of the"),
        ({"id": 10, "file_name": "a.png", "height": 30, "width": 40}, "image 10 (a.png): id is that of b.png, too"),
    ],
)
def test_images_that_cannot_be_used_are_named(write, image, said):
    good = {"id": 10, "file_name": "b.png", "height": 30, "width": 40}
    images = [good, image] if "a.png" in image.values() else [image, good | {"id": 11}]
    assert said in refused(write([], images))


def test_all_problems_of_a_file_are_told_at_once(write, tmp_path):
    images = [
        {"id": 1, "file_name": "gone.png", "height": 30, "width": 40},
        {"id": 2, "file_name": "../../etc/passwd", "height": 30, "width": 40},
        {"id": 3, "file_name": "junk.png", "height": 30, "width": 40},
        {"id": 10, "file_name": "b.png", "height": 30, "width": 40},
    ]
    (tmp_path / "junk.png").write_text("no image")
    rows = [GOOD, odd(bbox=3), odd(id=3, iscrowd=7, category_id=None), odd(id=4, image_id=None)]
    message = refused(write(rows, images, [*CATS, {"id": 6}]))
    assert f"is not in {tmp_path}" in message
    assert f"'../../etc/passwd' is outside {tmp_path}" in message
    assert "image 3 (junk.png): file_name 'junk.png' is not a readable image" in message
    assert "annotation 4: image_id None is no id" in message
    assert "categories[2]: name None is no name" in message
    assert "8 problems" in message


def test_one_file_of_two_names_is_refused_and_of_one_name_counted(write):
    images = [{"id": n, "file_name": name, "height": 30, "width": 40} for n, name in ((10, "x/b.png"), (11, "y/b.png"))]
    assert "file_name leads to b.png, as that of image 10 (x/b.png) does" in refused(write([GOOD], images))
    images[1]["file_name"] = "x/b.png"
    assert read_coco(write([GOOD], images)).notices.counted(LISTED_TWICE) == 1
    images[1]["id"] = 10
    assert len(read_coco(write([GOOD], images)).images) == 1


def test_images_that_are_nowhere_are_said_with_all_places(write, tmp_path):
    files = CocoFiles(write().annotations, (tmp_path / "x", tmp_path / "y"))
    assert f"image 0 (a.png): file_name is not in {tmp_path / 'x'}, {tmp_path / 'y'}" in refused(files)


def test_data_without_an_object_that_counts_is_refused(write):
    assert "has no object that counts in its 2 images (crowds: 1)" in refused(write([odd(iscrowd=1)]))
    message = refused(write([odd(bbox=[1, 1, 0, 9])]))
    assert "has no object that counts" in message
    assert f"{NO_AREA}: 1" in message
    assert "lists no images" in refused(write([], []))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not a COCO annotation file"),
        ("{}", "not a COCO annotation file"),
        ("no json", "not a COCO annotation file"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": [], "categories": [], "annotations": 3}', "its annotations are no list of objects"),
        ('{"images": [], "categories": 3, "annotations": []}', "its categories are no list of objects"),
        ('{"images": [1], "categories": [], "annotations": []}', "its images are no list of objects"),
        ('{"images": [], "categories": []}', "lists images without annotations"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "detections with scores"),
        ('{"images": [], "annotations": [{"segments_info": []}], "categories": []}', "panoptic"),
        ('{"images": [], "annotations": [{"id": 1, "caption": "a cat"}]}', "captions"),
        ('{"images": [], "annotations": [{"id": 1, "keypoints": [1, 2, 2]}], "categories": []}', "keypoints"),
    ],
)
def test_refuses_other_files(tmp_path, text, said):
    path = tmp_path / "other.json"
    path.write_text(text)
    for read in (lambda: read_coco(CocoFiles(path, (tmp_path,))), lambda: read_classes(path)):
        with pytest.raises(DataError, match=said):
            read()
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not a COCO annotation file"):
        read_classes(path)
    with pytest.raises(OSError, match="gone"):
        read_classes(tmp_path / "gone.json")


def test_keypoints_with_boxes_are_read(write):
    assert read_coco(write([odd(keypoints=[1, 2, 2], num_keypoints=1)])).images[1].truth.labels == ("cat",)


def test_classes_can_be_taken_alone():
    truth = GroundTruth(np.arange(8.0).reshape(2, 4), ("a", "b"), np.array([False, True]), np.array([1.0, 2.0]))
    alone = truth.of_classes({"b"})
    assert alone.labels == ("b",)
    assert alone.boxes_xyxy.tolist() == [[4, 5, 6, 7]]
    assert alone.objects == 0


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")
def test_links_in_the_folder_of_images_are_followed(write, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "b.png").rename(store / "0001.png")
    (tmp_path / "b.png").symlink_to(store / "0001.png")
    assert len(read_coco(write()).images) == 2
