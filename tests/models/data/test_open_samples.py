import json

import pytest
from PIL import Image

from models.data.coco_files import evaluation_files, validation_files
from models.data.open_samples import open_samples, unknown_classes
from models.data.samples import PageSamples

NAMES = ("a.png", "b.png", "c.png")


def write_images(folder, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (16, 12)).save(folder / name)


def write_annotations(path, names=NAMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": place, "file_name": name, "height": 12, "width": 16} for place, name in enumerate(names)]
    objects = [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": objects}))
    return path


def test_a_folder_is_found_as_training_finds_it(tmp_path):
    write_images(tmp_path / "valid")
    wanted = write_annotations(tmp_path / "valid" / "_annotations.coco.json")
    write_images(tmp_path / "train")
    write_annotations(tmp_path / "train" / "_annotations.coco.json")
    samples = open_samples(str(tmp_path))
    assert (samples.data.folder, samples.data.files.annotations) == (tmp_path / "valid", wanted)
    assert [sample.image.shape for sample in samples] == [(12, 16, 3)] * 3
    assert validation_files(tmp_path) == evaluation_files(tmp_path)


def test_another_split_can_be_named(tmp_path):
    write_images(tmp_path / "train2017")
    write_images(tmp_path / "val2017")
    write_annotations(tmp_path / "annotations" / "instances_val2017.json")
    other = write_annotations(tmp_path / "annotations" / "instances_train2017.json")
    assert open_samples(str(tmp_path), other).data.folder == tmp_path / "train2017"


def test_annotations_may_lie_elsewhere(tmp_path):
    write_images(tmp_path / "images")
    file = write_annotations(tmp_path / "labels" / "mine.json")
    samples = open_samples(str(tmp_path / "images"), file)
    assert (samples.data.folder, samples.data.files.annotations) == (tmp_path / "images", file)


def test_limit_takes_the_first_and_asks_for_no_others(tmp_path):
    write_images(tmp_path, NAMES[:2])
    write_annotations(tmp_path / "annotations.json")
    samples = open_samples(str(tmp_path), limit=2)
    assert [image.file_name for image in samples.data.images] == ["a.png", "b.png"]
    assert samples.classes == ("cat",)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere is no folder"):
        open_samples(str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="holds no COCO annotations"):
        open_samples(str(tmp_path))
    write_annotations(tmp_path / "annotations.json")
    with pytest.raises(ValueError, match=r"a\.png\): file_name is not in"):
        open_samples(str(tmp_path))
    write_images(tmp_path, NAMES[:1])
    with pytest.raises(ValueError, match=r"(?s)2 problems.*b\.png.*c\.png"):
        open_samples(str(tmp_path))
    write_annotations(tmp_path / "annotations.json", ())
    with pytest.raises(ValueError, match="lists no images"):
        open_samples(str(tmp_path))
    with pytest.raises(OSError, match=r"gone\.json"):
        open_samples(str(tmp_path), tmp_path / "gone.json")


def test_generated_pages():
    assert open_samples("pages") == PageSamples()
    assert open_samples("pages:7") == PageSamples(7)
    assert open_samples("pages:7:128x96", limit=3) == PageSamples(3, 128, 96)
    assert open_samples("pages:7", limit=9) == PageSamples(7)


@pytest.mark.parametrize("data", ["pages:0", "pages:3:10x500", "pages:many", "pages:3:500", "Pages"])
def test_refuses_other_pages(data):
    with pytest.raises(ValueError, match=data):
        open_samples(data)


def test_pages_have_no_annotation_file(tmp_path):
    with pytest.raises(ValueError, match="come with their annotations"):
        open_samples("pages", tmp_path / "annotations.json")


def test_classes_meet_by_name():
    assert unknown_classes(("cat", "dog", "yak"), ("dog", "cat", "cow")) == ("yak",)
    assert unknown_classes(("cat",), ("cat",)) == ()
    with pytest.raises(ValueError, match=r"none of the classes in the ground truth \(cat, yak\); it knows text"):
        unknown_classes(("cat", "yak"), ("text",))
    with pytest.raises(ValueError, match="a, b, c, d, e, f, g, h and 72 more"):
        unknown_classes(tuple("abcdefgh") + tuple(map(str, range(72))), ("text",))
    with pytest.raises(ValueError, match="no objects"):
        unknown_classes((), ("text",))
