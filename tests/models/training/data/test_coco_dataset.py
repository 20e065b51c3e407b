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


def test_images_come_with_their_boxes_and_classes_in_the_order_of_category_ids(files):
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


def test_crowds_and_boxes_without_area_are_left_out_and_counted_and_others_clipped(files):
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


def test_a_missing_file_is_told_at_the_start(files):
    (folder,) = files.folders
    (folder / "002.png").unlink()
    (folder / "004.png").unlink()
    with pytest.raises(ValueError, match=r"(?s)2 problems.*002\.png.*004\.png"):
        CocoDataset.read(files)


def test_broken_files_are_named_at_the_start_or_when_they_are_read(files):
    (folder,) = files.folders
    dataset = CocoDataset.read(files)
    (folder / "001.png").write_bytes((folder / "001.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"001\.png is not a readable image"):
        dataset[1]
    Image.new("RGB", (48, 68)).save(folder / "002.png")
    (folder / "003.png").write_text("no image")
    with pytest.raises(ValueError, match=r"(?s)002\.png.*68 x 48.*48 x 68 pixels.*003\.png.*not a readable image"):
        CocoDataset.read(files)
    with pytest.raises(ValueError, match=r"002\.png is 48 x 68 pixels; its annotations say 68 x 48"):
        dataset[2]


def test_crowds_alone_are_an_error_not_a_silent_run(files):
    rewrite(files, annotations=[box([0, 0, 10, 10], iscrowd=1)])
    with pytest.raises(ValueError, match=r"no object that counts in its 5 images \(crowds: 1\)"):
        CocoDataset.read(files)


def test_a_crowd_flag_in_a_string_is_learnt_from(files):
    rewrite(files, annotations=[box([0, 0, 10, 10], iscrowd="0")])
    assert CocoDataset.read(files)[1].labels.tolist() == [0]


@pytest.mark.parametrize("changes", [{"images": []}, {"categories": 3}, {"annotations": [{"image_id": 0}]}])
def test_what_is_not_coco_is_refused_by_name(files, changes):
    rewrite(files, **changes)
    with pytest.raises(ValueError, match=r"instances\.json"):
        CocoDataset.read(files)
