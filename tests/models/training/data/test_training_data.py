import json
from dataclasses import replace

import numpy as np
import pytest

from models.config import PAGE_LABELS
from models.data.coco_objects import NO_AREA
from models.data.write_pages import write_pages
from models.training.data.coco_dataset import CROWDS
from models.training.data.training_data import (
    UNKNOWN_CLASS,
    class_names,
    data_remarks,
    image_count,
    open_held_out,
    open_stream,
)
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder, train=3, val=2, height=120, width=96)
    return folder


def test_generated_pages(tiny_config):
    assert class_names("pages") == PAGE_LABELS
    assert image_count("pages") is None
    stages = Curriculum.parse("4:64-64")
    stream = open_stream(Recipe("m", "pages", 4, batch_size=2, stages=stages), tiny_config)
    assert stream.steps_per_epoch is None
    assert len(stream.batch(0).images) == 2


def test_a_coco_folder(folder, tiny_config):
    assert class_names(str(folder)) == PAGE_LABELS
    assert image_count(str(folder)) == 3
    stream = open_stream(Recipe("m", str(folder), 4, batch_size=2), tiny_config)
    assert stream.steps_per_epoch == 2
    assert len(stream.batch(0).images) == 2


def test_held_out_images_are_limited_and_repeatable(folder):
    pages, images = open_held_out("pages", 3), open_held_out(str(folder), 1)
    assert pages is not None
    assert images is not None
    assert (len(pages), len(images)) == (3, 1)
    first, again = pages.sample(2), pages.sample(2)
    assert np.array_equal(first[0], again[0])
    assert images.sample(0)[0].shape == (120, 96, 3)
    assert set(images.sample(0)[1].labels) <= set(PAGE_LABELS)


def test_no_validation_split(folder, tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train2017").symlink_to(folder / "train2017")
    annotations = (folder / "annotations" / "instances_train2017.json").read_text()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(annotations)
    assert open_held_out(str(tmp_path), 5) is None


@pytest.fixture
def custom(tmp_path, write_coco):
    """A folder whose files no finder could tell apart."""
    for name, count in (("first.json", 5), ("second.json", 3)):
        write_coco(tmp_path / name, tmp_path / "images", count)
    return tmp_path


def test_annotation_files_can_be_named(custom, tiny_config):
    data, first, second = str(custom), custom / "first.json", custom / "second.json"
    with pytest.raises(ValueError, match=r"first\.json, second\.json.*--annotations"):
        class_names(data)
    assert class_names(data, first) == ("cat", "dog")
    assert image_count(data, first) == 5
    config = replace(tiny_config, labels=("cat", "dog"))
    assert open_stream(Recipe("m", data, 4, batch_size=2), config, first).steps_per_epoch == 3
    held_out = open_held_out(data, 9, second)
    assert held_out is not None
    assert len(held_out) == 3


def test_generated_pages_come_with_their_annotations(custom):
    for use in (class_names, image_count, lambda data, file: open_held_out(data, 3, file)):
        with pytest.raises(ValueError, match="come with their annotations"):
            use("pages", custom / "first.json")


def test_a_class_that_only_validation_has_is_left_out_and_said(custom, tiny_config):
    second = custom / "second.json"
    held_out = open_held_out(str(custom), 9, second, ("cat",))
    assert held_out is not None
    assert [held_out.sample(place)[1].labels for place in range(3)] == [(), ("cat",), ("cat",)]
    config = replace(tiny_config, labels=("cat", "dog"))
    stream = open_stream(Recipe("m", str(custom), 4, batch_size=2), config, custom / "first.json")
    (remark,) = data_remarks(stream, held_out)
    assert remark == f"{second}: {UNKNOWN_CLASS}: 1 (dog with 1 objects)"
    with pytest.raises(ValueError, match=r"second\.json has no object of the classes to learn"):
        open_held_out(str(custom), 9, second, ("horse",))


def test_remarks_tell_what_is_left_out_of_both_sets(custom, tiny_config):
    first = custom / "first.json"
    document = json.loads(first.read_text())
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][1]["bbox"][2] = 0
    first.write_text(json.dumps(document))
    config = replace(tiny_config, labels=("cat", "dog"))
    stream = open_stream(Recipe("m", str(custom), 4, batch_size=2), config, first)
    assert data_remarks(stream, open_held_out(str(custom), 9, first)) == [
        f"{first}: {NO_AREA}: 1 (annotation 2 of image 20 (002.png))",
        f"{first}: {CROWDS}: 1",
        f"{first}: {NO_AREA}: 1 (annotation 2 of image 20 (002.png))",
    ]
    pages = open_stream(Recipe("m", "pages", 4, stages=Curriculum.parse("4:64-64")), tiny_config)
    assert data_remarks(pages, open_held_out("pages", 3)) == []


def test_folders_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        class_names(str(tmp_path / "nowhere"))
