import pytest

from models.data.coco_files import CocoFiles, find_coco, training_files


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
