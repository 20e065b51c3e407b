import numpy as np
import pytest

from models.config import PAGE_LABELS
from models.training.curriculum import Curriculum
from models.training.pages_dataset import write_pages
from models.training.recipe import Recipe
from models.training.training_data import class_names, image_count, open_held_out, open_stream


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


def test_folders_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        class_names(str(tmp_path / "nowhere"))
