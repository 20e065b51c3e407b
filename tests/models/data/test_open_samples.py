import pytest

from models.data.coco_files import evaluation_files, validation_files
from models.data.open_samples import open_samples, unknown_classes
from models.data.samples import PageSamples


def opened(samples):
    return samples.data.folder, samples.data.files.annotations


def test_a_folder_is_found_as_training_finds_it(tmp_path, write_coco):
    expected = write_coco(tmp_path / "valid" / "_annotations.coco.json", tmp_path / "valid")
    write_coco(tmp_path / "train" / "_annotations.coco.json", tmp_path / "train")
    assert opened(open_samples(str(tmp_path))) == (tmp_path / "valid", expected)
    assert validation_files(tmp_path) == evaluation_files(tmp_path)


def test_another_split_can_be_named(tmp_path, write_coco):
    splits = (("val2017", 2), ("train2017", 3))
    _, other = (
        write_coco(tmp_path / "annotations" / f"instances_{name}.json", tmp_path / name, count)
        for name, count in splits
    )
    assert opened(open_samples(str(tmp_path), other)) == (tmp_path / "train2017", other)


def test_annotations_may_lie_elsewhere(tmp_path, write_coco):
    file = write_coco(tmp_path / "labels" / "mine.json", tmp_path / "images")
    assert opened(open_samples(str(tmp_path / "images"), file)) == (tmp_path / "images", file)


def test_a_limit_takes_the_first_images_and_ignores_the_others(tmp_path, write_coco):
    write_coco(tmp_path / "annotations.json", tmp_path)
    (tmp_path / "004.png").unlink()
    samples = open_samples(str(tmp_path), limit=2)
    assert [image.file_name for image in samples.data.images] == ["000.png", "001.png"]
    assert samples.classes == ("cat",)
    assert [sample.image.shape for sample in samples] == [(48, 60, 3), (48, 64, 3)]


def test_missing_folders_files_and_images_are_named(tmp_path, write_coco):
    with pytest.raises(ValueError, match=r"nowhere is no folder"):
        open_samples(str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="holds no COCO annotations"):
        open_samples(str(tmp_path))
    write_coco(tmp_path / "annotations.json", tmp_path, count=3)
    for name in ("001.png", "002.png"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=r"(?s)2 problems.*001\.png.*002\.png"):
        open_samples(str(tmp_path))
    (tmp_path / "000.png").unlink()
    with pytest.raises(ValueError, match=r"000\.png\): file_name is not in"):
        open_samples(str(tmp_path))
    with pytest.raises(OSError, match=r"gone\.json"):
        open_samples(str(tmp_path), tmp_path / "gone.json")


def test_generated_pages(tmp_path):
    assert open_samples("pages") == PageSamples()
    assert open_samples("pages:7") == PageSamples(7)
    assert open_samples("pages:7:128x96", limit=3) == PageSamples(3, 128, 96)
    assert open_samples("journals") == PageSamples(kinds="journals")
    assert open_samples("journals:7:128x96") == PageSamples(7, 128, 96, "journals")
    assert open_samples("pages:7", limit=9) == PageSamples(7)
    with pytest.raises(ValueError, match="come with their annotations"):
        open_samples("pages", tmp_path / "annotations.json")


@pytest.mark.parametrize("data", ["pages:0", "pages:3:10x500", "pages:many", "pages:3:500", "Pages"])
def test_other_names_of_pages_are_refused(data):
    with pytest.raises(ValueError, match=data):
        open_samples(data)


def test_classes_meet_by_name():
    assert unknown_classes(("cat", "dog", "yak"), ("dog", "cat", "cow")) == ("yak",)
    assert unknown_classes(("cat",), ("cat",)) == ()
    with pytest.raises(ValueError, match=r"none of the classes in the ground truth \(cat, yak\); it knows text"):
        unknown_classes(("cat", "yak"), ("text",))
    with pytest.raises(ValueError, match="a, b, c, d, e, f, g, h and 72 more"):
        unknown_classes(tuple("abcdefgh") + tuple(map(str, range(72))), ("text",))
    with pytest.raises(ValueError, match="no objects"):
        unknown_classes((), ("text",))
