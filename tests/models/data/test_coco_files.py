import pytest

from models.data.coco_files import evaluation_files, training_files, validation_files


@pytest.fixture
def lay(tmp_path):
    """Return a function that makes files, and their folders, in the data set's folder."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}")
        return tmp_path

    return make


def found_in(files):
    """The annotation file, and the folder that its images are looked for in first."""
    return files.annotations, files.folders[0]


@pytest.mark.parametrize("year", ["2017", "2014", ""])
@pytest.mark.parametrize("images", ["", "images/"])
def test_cocos_own_layout(lay, year, images):
    folder = lay(
        *(f"annotations/{kind}_{split}{year}.json" for kind in ("captions", "instances") for split in ("train", "val")),
        *(f"{images}{split}{year}/a.png" for split in ("train", "val")),
    )
    train, val = (folder / f"annotations/instances_{split}{year}.json" for split in ("train", "val"))
    assert found_in(training_files(folder)) == (train, folder / f"{images}train{year}")
    assert found_in(validation_files(folder)) == (val, folder / f"{images}val{year}")
    assert evaluation_files(folder) == validation_files(folder)


@pytest.mark.parametrize("word", ["val", "valid", "validation"])
@pytest.mark.parametrize("inside", ["", "images/"])
def test_a_folder_for_each_split(lay, word, inside):
    folder = lay(
        *(f"{split}/_annotations.coco.json" for split in ("train", word, "test")),
        *(f"{split}/{inside}a.png" for split in ("train", word, "test")),
        "train/other.json",
    )
    train, val = folder / "train", folder / word
    assert found_in(training_files(folder)) == (train / "_annotations.coco.json", train / inside)
    assert found_in(validation_files(folder)) == (val / "_annotations.coco.json", val / inside)
    assert evaluation_files(folder) == validation_files(folder)


def test_a_folder_for_each_split_in_cvats_layout(lay):
    folder = lay("train/annotations/instances_default.json", "train/images/default/a.png")
    files = training_files(folder)
    assert found_in(files) == (folder / "train/annotations/instances_default.json", folder / "train/images/default")


@pytest.mark.parametrize("name", ["result.json", "_annotations.coco.json", "annotations/instances_default.json"])
@pytest.mark.parametrize("images", ["", "images/"])
def test_a_single_file_is_for_training_and_evaluation(lay, name, images):
    folder = lay(name, f"{images}a.png")
    assert training_files(folder) == evaluation_files(folder)
    assert training_files(folder).annotations == folder / name
    assert folder / images in training_files(folder).folders
    assert validation_files(folder) is None


def test_names_tell_the_split(lay):
    folder = lay("custom_train.json", "custom_val.json", "images/a.png")
    assert found_in(training_files(folder)) == (folder / "custom_train.json", folder / "images")
    assert found_in(validation_files(folder)) == (folder / "custom_val.json", folder / "images")


def test_evaluation_takes_val_then_test_then_training_data(lay):
    folder = lay("train/a.json")
    assert evaluation_files(folder).annotations == folder / "train/a.json"
    lay("test/b.json")
    assert evaluation_files(folder).annotations == folder / "test/b.json"
    assert validation_files(folder) is None
    lay("valid/c.json")
    assert evaluation_files(folder).annotations == folder / "valid/c.json"


def test_a_file_can_be_named_wherever_it_lies(lay, tmp_path):
    folder = lay("set/train/a.png", "set/one.json", "set/two.json", "elsewhere/my_train.json") / "set"
    named = tmp_path / "elsewhere/my_train.json"
    for find in (training_files, validation_files, evaluation_files):
        assert found_in(find(folder, named)) == (named, folder / "train")
        with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.json"):
            find(folder, tmp_path / "gone.json")


@pytest.mark.parametrize(
    "names",
    [("one.json", "other.json"), ("annotations.json", "_annotations.coco.json"), ("x_train.json", "train.json")],
)
def test_several_files_to_choose_from_are_named(lay, names):
    with pytest.raises(ValueError, match=r"several annotation files.*name one with --annotations") as caught:
        training_files(lay(*names))
    assert all(name in str(caught.value) for name in names)


def test_thousands_of_files_are_not_all_named(lay):
    folder = lay(*(f"val/{index}.json" for index in range(20)))
    with pytest.raises(ValueError, match=r"and 15 more.*--val-annotations"):
        validation_files(folder)


def test_folders_without_data_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"instances_train2017\.json.*--annotations"):
        training_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="instances_val2017"):
        evaluation_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        training_files(tmp_path / "nowhere")
