import json

import numpy as np
import pytest
import torch
from PIL import Image

from models.data.coco_files import CocoFiles
from models.data.coco_objects import NEGATIVE, NO_AREA, OUTSIDE
from models.training.data.coco_dataset import CROWDS, CocoDataset


@pytest.fixture
def files(tmp_path, write_coco):
    return CocoFiles(write_coco(tmp_path / "instances.json", tmp_path), (tmp_path,))


def rewrite(files, **changes):
    document = json.loads(files.annotations.read_text())
    files.annotations.write_text(json.dumps(document | changes))


def box(bbox, category=3, image=10, **more):
    return {"image_id": image, "category_id": category, "bbox": bbox, "area": 1, **more}


def test_images_come_with_boxes_and_classes_in_the_order_of_ids(files):
    dataset = CocoDataset.read(files)
    assert dataset.labels == ("cat", "dog")
    assert len(dataset) == 5
    image = dataset[3]
    assert image.pixels.shape == (3, 48, 72)
    assert image.pixels[:, 0, 0].tolist() == [120, 0, 200]
    assert image.pixels[:, 0, 71].tolist() == [0, 0, 0]
    assert image.labels.tolist() == [0, 1, 0]
    assert image.boxes_xyxy.tolist() == [[4, 5, 24, 35], [10, 5, 30, 35], [16, 5, 36, 35]]
    np.testing.assert_allclose(image.target().boxes_cxcywh[0], [14 / 72, 20 / 48, 20 / 72, 30 / 48], rtol=1e-6)


def test_an_image_without_objects_stays(files):
    image = CocoDataset.read(files)[0]
    assert image.boxes_xyxy.shape == (0, 4)
    assert image.labels.dtype == torch.int64


def test_classes_can_be_those_of_a_model_that_leaves_ids_unused(files):
    dataset = CocoDataset.read(files)
    assert dataset.for_labels((None, "dog", None, "cat"))[2].labels.tolist() == [3, 1]
    assert dataset[2].labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="does not know: dog"):
        dataset.for_labels(("cat",))


def test_crowds_and_empty_boxes_are_counted_and_others_clipped(files):
    rows = [
        box([-10, -10, 30, 20]),
        box([50, 40, 100, 100], 7),
        box([0, 0, 10, 10], iscrowd=1),
        box([5, 5, 0, 10]),
        box([64, 0, 10, 10]),
        box([5, 5, -4, 10]),
    ]
    rewrite(files, annotations=rows)
    dataset = CocoDataset.read(files)
    assert dataset[1].boxes_xyxy.tolist() == [[0, 0, 20, 10], [50, 40, 64, 48]]
    assert dataset[1].labels.tolist() == [0, 1]
    counts = [dataset.notices.counted(what) for what in (CROWDS, NO_AREA, OUTSIDE, NEGATIVE)]
    assert counts == [1, 1, 1, 1]
    assert all(len(dataset[index].labels) == 0 for index in (0, 2, 3, 4))


def test_a_file_that_was_changed_is_named_when_it_is_read(files):
    (folder,) = files.folders
    dataset = CocoDataset.read(files)
    Image.new("RGB", (48, 68)).save(folder / "002.png")
    with pytest.raises(ValueError, match=r"002\.png is 48 x 68 pixels; its annotations say 68 x 48"):
        dataset[2]
