import hashlib

import numpy as np
import pytest
from PIL import Image

from models.data.coco import read_coco
from models.data.pages.fonts import family_names
from models.data.pages.held_out import held_out_pages
from models.data.samples import OTHER_CLASS, CocoSamples, PageSamples
from models.named_models import PAGE_LABELS


@pytest.fixture
def coco(write, row, tmp_path):
    """Of two images the second, a grey one with a cat and a dog."""
    Image.new("L", (40, 30), 7).save(tmp_path / "b.png")
    image = {"id": 10, "file_name": "b.png", "height": 30, "width": 40}
    return CocoSamples(read_coco(write([row(area=None), row(id=3, category_id=5)], [image])))


def test_pages_are_the_held_out_ones_every_time():
    samples = PageSamples(2, 128, 96)
    for _ in range(2):
        for sample, page in zip(samples, held_out_pages(2, 128, 96), strict=True):
            assert np.array_equal(sample.image, np.asarray(page.image))
            assert sample.truth.labels == tuple(PAGE_LABELS[label] for label in page.labels)
            assert np.array_equal(sample.truth.boxes_xyxy, page.boxes_xyxy)
    assert len(samples) == 2
    assert set(samples.classes) == set(PAGE_LABELS)
    described = samples.described()
    assert (described["data"], described["fonts"]) == ("pages:2:128x96", list(family_names()))


def test_coco_images_are_read_as_rgb_with_their_objects(coco):
    assert (len(coco), coco.classes) == (1, ("cat", "dog"))
    for sample in (*coco, coco[0]):
        assert sample.image.shape == (30, 40, 3)
        assert (sample.image == 7).all()
        assert sample.truth.labels == ("cat", "dog")
        assert sample.truth.boxes_xyxy.tolist() == [[1, 2, 11, 22]] * 2
        assert sample.truth.areas.tolist() == [200, 150]


def test_objects_of_other_classes_can_be_left_out_and_are_counted(coco):
    cats = coco.of_classes(("cat", "cow"))
    assert (cats.classes, cats[0].truth.labels) == (("cat",), ("cat",))
    assert cats.notices.counted(OTHER_CLASS) == 1
    assert coco.of_classes(("cat", "dog")).notices.counted(OTHER_CLASS) == 0
    with pytest.raises(ValueError, match="no object of the classes to learn"):
        coco.of_classes(("cow",))


def test_coco_data_is_described_by_the_digest_of_its_annotations(coco):
    described = coco.described()
    assert described["annotations_sha256"] == hashlib.sha256(coco.data.files.annotations.read_bytes()).hexdigest()
    assert described["data"] == str(coco.data.folder)


def test_an_image_that_has_changed_is_named(coco):
    path = coco.data.folder / "b.png"
    Image.new("RGB", (41, 30)).save(path)
    with pytest.raises(ValueError, match="41 x 30"):
        list(coco)
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"b\.png"):
        list(coco)
