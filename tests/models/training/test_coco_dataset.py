import json

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.coco_dataset import CocoDataset, read_labels
from models.training.coco_images import read_rgb
from models.training.coco_layout import CocoFiles, find_coco, training_files


@pytest.fixture
def files(tmp_path, write_coco):
    return CocoFiles(write_coco(tmp_path / "instances.json", tmp_path), tmp_path)


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
    dataset = CocoDataset.read(files, labels=(None, "dog", None, "cat"))
    assert dataset[2].labels.tolist() == [3, 1]
    with pytest.raises(ValueError, match="does not know: dog"):
        CocoDataset.read(files, labels=("cat",))


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
    assert (dataset.crowds, dataset.degenerate) == (1, 3)
    assert all(len(dataset[index].labels) == 0 for index in (0, 2, 3, 4))


def test_a_category_that_only_groups_others_is_not_a_class(files):
    group = {"id": 0, "name": "animals", "supercategory": "none"}
    cat = {"id": 3, "name": "cat", "supercategory": "animals"}
    dog = {"id": 7, "name": "dog", "supercategory": "dog"}
    rewrite(files, categories=[dog, group, cat])
    assert read_labels(files.annotations) == ("cat", "dog")
    rewrite(files, annotations=[box([0, 0, 9, 9], category=0)])
    assert read_labels(files.annotations) == ("animals", "cat", "dog")


def test_a_missing_file_is_told_at_the_start(files):
    (files.images / "002.png").unlink()
    (files.images / "004.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"002\.png, nor 1 more"):
        CocoDataset.read(files)


def test_broken_files_and_wrong_sizes_are_named_when_they_are_read(files):
    dataset = CocoDataset.read(files)
    (files.images / "001.png").write_bytes((files.images / "001.png").read_bytes()[:60])
    Image.new("RGB", (48, 68)).save(files.images / "002.png")
    (files.images / "003.png").write_text("no image")
    with pytest.raises(ValueError, match=r"001\.png is not a readable image"):
        dataset[1]
    with pytest.raises(ValueError, match=r"002\.png is 48 x 68 pixels; its annotations say 68 x 48"):
        dataset[2]
    with pytest.raises(ValueError, match=r"003\.png is not a readable image"):
        dataset[3]


@pytest.mark.parametrize("changes", [{"images": []}, {"categories": 3}, {"annotations": [{"image_id": 0}]}])
def test_what_is_not_coco_is_refused_by_name(files, changes):
    rewrite(files, **changes)
    with pytest.raises(ValueError, match=r"instances\.json"):
        CocoDataset.read(files)


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_counts_only_where_the_annotated_size_asks_for_it(tmp_path, orientation):
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    stored = read_rgb(tmp_path / "turned.png", 20, 40)
    assert stored[0, 0, 0] == 255
    assert stored[-1, -1, 0] == 0
    if orientation == 6:
        turned = read_rgb(tmp_path / "turned.png", 40, 20)
        assert (turned[0, :, 0] == 255).all()
        assert (turned[-1, :, 0] == 0).all()
    else:
        with pytest.raises(ValueError, match="turned"):
            read_rgb(tmp_path / "turned.png", 40, 20)


@pytest.mark.parametrize(("mode", "kind"), [("L", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("LA", "PNG")])
def test_every_mode_becomes_rgb(tmp_path, mode, kind):
    path = tmp_path / "image"
    Image.new("RGB", (9, 5), (255, 255, 255)).convert(mode).save(path, kind)
    pixels = read_rgb(path, 5, 9)
    assert pixels.shape == (5, 9, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() > 250


def test_transparency_lies_on_white_and_sixteen_bits_are_scaled(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (read_rgb(tmp_path / "clear.png", 4, 4) == 255).all()
    Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert (read_rgb(tmp_path / "deep.png", 4, 4) == 128).all()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="no defined white"):
        read_rgb(tmp_path / "float.tiff", 4, 4)


def test_cocos_own_layout(tmp_path, write_coco):
    train = write_coco(tmp_path / "annotations/instances_train2017.json", tmp_path / "train2017")
    assert find_coco(tmp_path, "val") is None
    val = write_coco(tmp_path / "annotations/instances_val2017.json", tmp_path / "images/val2017", count=2)
    assert training_files(tmp_path) == CocoFiles(train, tmp_path / "train2017")
    assert find_coco(tmp_path, "val") == CocoFiles(val, tmp_path / "images/val2017")


def test_a_folder_for_each_split(tmp_path, write_coco):
    name = "_annotations.coco.json"
    for folder in ("train", "valid", "test"):
        write_coco(tmp_path / folder / name, tmp_path / folder, count=2)
    (tmp_path / "train/other.json").write_text("{}")
    assert training_files(tmp_path) == CocoFiles(tmp_path / "train" / name, tmp_path / "train")
    assert find_coco(tmp_path, "val") == CocoFiles(tmp_path / "valid" / name, tmp_path / "valid")


def test_one_file_beside_its_images_is_for_training(tmp_path, write_coco):
    file = write_coco(tmp_path / "all.json", tmp_path / "images")
    assert training_files(tmp_path) == CocoFiles(file, tmp_path / "images")
    assert find_coco(tmp_path, "val") is None
    (tmp_path / "second.json").write_text("{}")
    with pytest.raises(ValueError, match=r"all\.json, second\.json"):
        training_files(tmp_path)


def test_folders_without_data_say_what_was_expected(tmp_path, write_coco):
    with pytest.raises(FileNotFoundError, match="instances_train2017"):
        training_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        training_files(tmp_path / "nowhere")
    write_coco(tmp_path / "annotations/instances_train2017.json", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="train2017 or"):
        training_files(tmp_path)
