import os

import numpy as np
import pytest
from PIL import Image

from models.data.coco import GroundTruth, read_coco
from models.data.coco_document import SAME_NAME
from models.data.coco_files import CocoFiles
from models.data.coco_images import LISTED_TWICE
from models.data.coco_objects import NO_AREA, UNKNOWN_IMAGE
from models.data.findings import DataError
from models.data.image_sizes import AS_STORED, AS_TURNED, FROM_IMAGE, UNDECIDED


def test_images_come_in_the_files_order_with_what_is_in_them(write, row):
    rows = [row(id=1), row(category_id=5, iscrowd=1, bbox=[0, 0, 5.5, 5], area=9)]
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


def test_sizes_and_ids_may_be_strings(write, row):
    image = {"id": "10", "file_name": "b.png", "height": "30", "width": "40.0"}
    (read,) = read_coco(write([row()], [image])).images
    assert (read.height, read.width, read.truth.labels) == (30, 40, ("cat",))


@pytest.mark.parametrize(("image", "annotation"), [("10", 10), (10, "10"), ("x-1", "x-1"), (10.0, "010")])
def test_ids_of_any_kind_meet(write, row, image, annotation):
    rows = [row(image_id=annotation, category_id="1")]
    images = [{"id": image, "file_name": "b.png", "height": 30, "width": 40}]
    assert read_coco(write(rows, images)).images[0].truth.labels == ("cat",)


def test_a_limit_takes_the_first_images_and_ignores_the_others(write, row):
    rows = [row(image_id=0), row(image_id=10, bbox=3), row(image_id=99, bbox=None)]
    images = [{"id": 0, "file_name": "a.png"}, {"id": 10, "file_name": "gone.png"}]
    data = read_coco(write(rows, images), limit=1)
    assert [image.file_name for image in data.images] == ["a.png"]
    assert data.notices.counted(UNKNOWN_IMAGE) == 1
    assert data.notices.counted(FROM_IMAGE) == 1


@pytest.mark.parametrize("side", [None, "absent", 0])
def test_a_missing_size_is_the_images(write, row, side):
    image = {"id": 10, "file_name": "b.png", "height": side, "width": side}
    image = {name: value for name, value in image.items() if value != "absent"}
    data = read_coco(write([row(id=1), row(bbox=[35, 2, 10, 4])], [image]))
    assert (data.images[0].height, data.images[0].width) == (30, 40)
    assert data.notices.counted(FROM_IMAGE) == 1


def test_orientations_are_settled_and_said(write, row, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("a.png", (40, 30)), ("b.png", (40, 30)), ("c.png", (30, 30))):
        Image.new("RGB", size).save(tmp_path / name, exif=exif)
    sizes = {"a.png": (30, 40), "b.png": (40, 30), "c.png": (30, 30)}
    images = [{"id": n, "file_name": name, "height": h, "width": w} for n, (name, (h, w)) in enumerate(sizes.items())]
    data = read_coco(write([row(image_id=1)], images))
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
def test_classes_are_in_the_order_of_their_ids(write, row, categories, classes):
    files = write([row(category_id=categories[0]["id"])], categories=categories)
    assert read_coco(files).classes == classes


def test_categories_of_one_name_are_one_class_and_it_is_said(write, row):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cat"}]
    data = read_coco(write([row(id=1), row(category_id=3)], categories=categories))
    assert data.classes == ("cat", "dog")
    assert data.images[1].truth.labels == ("cat", "cat")
    assert [(each.what, each.examples) for each in data.notices.rows] == [(SAME_NAME, ("cat: 1 and 3",))]


def test_a_category_that_only_groups_others_is_not_a_class(write, row):
    group = {"id": 0, "name": "animals", "supercategory": "none"}
    cat = {"id": 3, "name": "cat", "supercategory": "animals"}
    dog = {"id": 7, "name": "dog", "supercategory": "dog"}
    assert read_coco(write([row(category_id=3)], categories=[dog, group, cat])).classes == ("cat", "dog")
    used = read_coco(write([row(category_id=0)], categories=[dog, group, cat]))
    assert used.classes == ("animals", "cat", "dog")


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
def test_images_that_cannot_be_used_are_named(write, refused, image, said):
    good = {"id": 10, "file_name": "b.png", "height": 30, "width": 40}
    images = [good, image] if "a.png" in image.values() else [image, good | {"id": 11}]
    assert said in refused(write([], images))


def test_all_problems_of_a_file_are_reported_at_once(write, refused, row, tmp_path):
    images = [
        {"id": 1, "file_name": "gone.png", "height": 30, "width": 40},
        {"id": 2, "file_name": "../../etc/passwd", "height": 30, "width": 40},
        {"id": 3, "file_name": "junk.png", "height": 30, "width": 40},
        {"id": 10, "file_name": "b.png", "height": 30, "width": 40},
    ]
    (tmp_path / "junk.png").write_text("no image")
    rows = [row(id=1), row(bbox=3), row(id=3, iscrowd=7, category_id=None), row(id=4, image_id=None)]
    message = refused(write(rows, images, [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 6}]))
    assert f"is not in {tmp_path}" in message
    assert f"'../../etc/passwd' is outside {tmp_path}" in message
    assert "image 3 (junk.png): file_name 'junk.png' is not a readable image" in message
    assert "annotation 4: image_id None is no id" in message
    assert "categories[2]: name None is no name" in message
    assert "8 problems" in message


def test_one_file_of_two_names_is_refused_and_of_one_name_counted(write, refused, row):
    images = [{"id": n, "file_name": name, "height": 30, "width": 40} for n, name in ((10, "x/b.png"), (11, "y/b.png"))]
    assert "file_name leads to b.png, as that of image 10 (x/b.png) does" in refused(write([row(id=1)], images))
    images[1]["file_name"] = "x/b.png"
    assert read_coco(write([row(id=1)], images)).notices.counted(LISTED_TWICE) == 1
    images[1]["id"] = 10
    assert len(read_coco(write([row(id=1)], images)).images) == 1


def test_missing_images_are_reported_with_all_folders(write, refused, tmp_path):
    files = CocoFiles(write().annotations, (tmp_path / "x", tmp_path / "y"))
    assert f"image 0 (a.png): file_name is not in {tmp_path / 'x'}, {tmp_path / 'y'}" in refused(files)


def test_data_without_an_object_that_counts_is_refused(write, refused, row):
    assert "has no object that counts in its 2 images (crowds: 1)" in refused(write([row(iscrowd=1)]))
    message = refused(write([row(bbox=[1, 1, 0, 9])]))
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
def test_other_files_are_refused(tmp_path, text, said):
    path = tmp_path / "other.json"
    path.write_text(text)
    files = CocoFiles(path, (tmp_path,))
    with pytest.raises(DataError, match=said):
        read_coco(files)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not a COCO annotation file"):
        read_coco(files)
    with pytest.raises(OSError, match="gone"):
        read_coco(CocoFiles(tmp_path / "gone.json", (tmp_path,)))


def test_ground_truth_of_some_classes_leaves_the_others_out():
    truth = GroundTruth(np.arange(8.0).reshape(2, 4), ("a", "b"), np.array([False, True]), np.array([1.0, 2.0]))
    dogs = truth.of_classes({"b"})
    assert dogs.labels == ("b",)
    assert dogs.boxes_xyxy.tolist() == [[4, 5, 6, 7]]
    assert dogs.objects == 0


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")
def test_links_in_the_folder_of_images_are_followed(write, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "b.png").rename(store / "0001.png")
    (tmp_path / "b.png").symlink_to(store / "0001.png")
    assert len(read_coco(write()).images) == 2
