import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from models.data.coco import read_coco
from models.data.coco_files import CocoFiles
from models.data.pages import LABELS
from models.data.pages.held_out import held_out_pages
from models.data.samples import CocoSamples, PageSamples, page_truth


@pytest.fixture
def coco(tmp_path):
    """Two images, of which one is listed, with one object."""
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    Image.new("L", (20, 30), 7).save(tmp_path / "b.png")
    annotations = tmp_path / "annotations.json"
    document = {
        "images": [{"id": 7, "file_name": "b.png", "height": 30, "width": 20}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}],
    }
    annotations.write_text(json.dumps(document))
    return CocoSamples(read_coco(CocoFiles(annotations, (tmp_path,))))


def test_pages_are_the_held_out_ones_every_time():
    samples = PageSamples(2, 128, 96)
    pages = list(held_out_pages(2, 128, 96))
    for _ in range(2):
        for sample, page in zip(samples, pages, strict=True):
            assert np.array_equal(sample.image, np.asarray(page.image))
            assert sample.truth.labels == page_truth(page).labels
            assert np.array_equal(sample.truth.boxes_xyxy, page.boxes_xyxy)
    assert len(samples) == 2
    assert set(samples.classes) == set(LABELS)
    assert samples.described()["data"] == "pages:2:128x96"


def test_coco_images_are_read_as_rgb_with_their_objects(coco):
    assert len(coco) == 1
    for _ in range(2):
        (sample,) = coco
        assert sample.image.shape == (30, 20, 3)
        assert (sample.image == 7).all()
        assert sample.truth.labels == ("cat",)
        assert sample.truth.boxes_xyxy.tolist() == [[1, 2, 11, 22]]
        assert sample.truth.areas.tolist() == [200]
    assert coco.classes == ("cat",)


def test_coco_data_is_described_by_the_digest_of_its_annotations(coco):
    described = coco.described()
    assert described["annotations_sha256"] == hashlib.sha256(coco.data.files.annotations.read_bytes()).hexdigest()
    assert described["data"] == str(coco.data.folder)


def test_a_broken_image_is_named(coco):
    (coco.data.folder / "b.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"b\.png"):
        list(coco)


def test_an_image_of_another_size_than_its_annotations_is_refused(coco):
    Image.new("RGB", (21, 30)).save(coco.data.folder / "b.png")
    with pytest.raises(ValueError, match="21 x 30"):
        list(coco)
