import json
from dataclasses import replace

import numpy as np
import pytest

from models.data.coco_objects import NO_AREA
from models.data.samples import OTHER_CLASS
from models.data.write_pages import write_pages
from models.named_models import PAGE_LABELS
from models.training.data.coco_dataset import CROWDS
from models.training.data.training_data import open_data, open_held_out
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    write_pages(folder, train=3, val=2, height=120, width=96)
    return folder


@pytest.fixture
def custom(tmp_path, write_coco):
    """A folder whose files no finder could tell apart."""
    for name, count in (("first.json", 5), ("second.json", 3)):
        write_coco(tmp_path / name, tmp_path / "images", count)
    return tmp_path


def test_generated_pages(tiny_config):
    data = open_data("pages")
    assert (data.classes, data.image_count, list(data.remarks())) == (PAGE_LABELS, None, [])
    recipe = Recipe("m", "pages", 4, batch_size=2, stages=Curriculum.parse("4:64-64"))
    assert len(data.stream(recipe, tiny_config).batch(0)) == 2
    with pytest.raises(ValueError, match="need stages"):
        data.stream(replace(recipe, stages=None), tiny_config)


def test_a_coco_folder(folder, tiny_config):
    data = open_data(str(folder))
    assert (data.classes, data.image_count) == (PAGE_LABELS, 3)
    assert len(data.stream(Recipe("m", str(folder), 4, batch_size=2), tiny_config).batch(0)) == 2


def test_held_out_images_are_limited_and_repeatable(folder):
    pages, images = open_held_out("pages", 3), open_held_out(str(folder), 1)
    assert (len(pages), len(images)) == (3, 1)
    assert pages[2] is pages[2]  # rendered once
    assert np.array_equal(pages[2].image, open_held_out("pages", 3)[2].image)
    assert images[0].image.shape == (120, 96, 3)
    assert set(images[0].truth.labels) <= set(PAGE_LABELS)


def test_a_folder_without_a_validation_split_holds_nothing_out(tmp_path, write_coco):
    write_coco(tmp_path / "train.json", tmp_path)
    assert open_held_out(str(tmp_path), 5) is None


def test_annotation_files_can_be_named(custom):
    data, first, second = str(custom), custom / "first.json", custom / "second.json"
    with pytest.raises(ValueError, match=r"first\.json, second\.json.*--annotations"):
        open_data(data)
    opened = open_data(data, first)
    assert (opened.classes, opened.image_count) == (("cat", "dog"), 5)
    assert len(open_held_out(data, 9, second)) == 3
    for use in (lambda: open_data("pages", first), lambda: open_held_out("pages", 3, first)):
        with pytest.raises(ValueError, match="come with their annotations"):
            use()


def test_a_class_that_only_validation_has_is_left_out_and_said(custom):
    second = custom / "second.json"
    held_out = open_held_out(str(custom), 9, second, ("cat",))
    assert [sample.truth.labels for sample in held_out] == [(), ("cat",), ("cat",)]
    assert held_out.notices.lines() == [f"{second}: {OTHER_CLASS}: 1 (dog with 1 objects)"]
    with pytest.raises(ValueError, match=r"second\.json has no object of the classes to learn"):
        open_held_out(str(custom), 9, second, ("horse",))


def test_remarks_tell_what_is_left_out_of_both_sets(custom):
    first = custom / "first.json"
    document = json.loads(first.read_text())
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][1]["bbox"][2] = 0
    first.write_text(json.dumps(document))
    data = replace(open_data(str(custom), first), held_out=open_held_out(str(custom), 9, first))
    assert list(data.remarks()) == [
        f"{first}: {NO_AREA}: 1 (annotation 2 of image 20 (002.png))",
        f"{first}: {CROWDS}: 1",
        f"{first}: {NO_AREA}: 1 (annotation 2 of image 20 (002.png))",
    ]


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_data(str(tmp_path / "nowhere"))
