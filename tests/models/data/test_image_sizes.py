import pytest
from PIL import Image

from models.data.image_sizes import AS_STORED, AS_TURNED, FROM_IMAGE, UNDECIDED, Stored, settled_size, stored_size


def turned(path, orientation, size=(40, 20)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_headers_are_read(tmp_path, suffix):
    path = turned(tmp_path / f"a.{suffix}", 6)
    for expected in ((20, 40), (40, 20), (None, None)):
        assert stored_size(path, *expected) == Stored(20, 40, 6)
    assert stored_size(turned(tmp_path / f"b.{suffix}", 99), 20, 40) == Stored(20, 40)


def test_a_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(ValueError, match="is not a readable image"):
        stored_size(tmp_path / "a.png", 1, 1)
    with pytest.raises(OSError, match=r"b\.png"):
        stored_size(tmp_path / "b.png", 1, 1)


@pytest.mark.parametrize(
    ("stored", "given", "size", "notices"),
    [
        (Stored(20, 40), (20, 40), (20, 40), []),
        (Stored(20, 40), (None, None), (20, 40), [FROM_IMAGE]),
        (Stored(20, 40), (20, None), (20, 40), [FROM_IMAGE]),
        (Stored(20, 40, 6), (20, 40), (20, 40), [AS_STORED]),
        (Stored(20, 40, 6), (40, 20), (40, 20), [AS_TURNED]),
        (Stored(20, 40, 6), (40, None), (40, 20), [FROM_IMAGE, AS_TURNED]),
        (Stored(20, 40, 6), (None, None), (20, 40), [FROM_IMAGE, UNDECIDED]),
        (Stored(20, 40, 3), (20, 40), (20, 40), [UNDECIDED]),
        (Stored(30, 30, 6), (30, 30), (30, 30), [UNDECIDED]),
    ],
)
def test_which_way_up_the_boxes_are(stored, given, size, notices):
    assert settled_size(stored, *given, [(5, 5)]) == (size, notices)


def test_boxes_may_tell_where_the_file_does_not():
    assert settled_size(Stored(20, 40, 6), None, None, [(15, 35)]) == ((40, 20), [FROM_IMAGE, AS_TURNED])
    assert settled_size(Stored(20, 40, 6), None, None, [(35, 35)]) == ((20, 40), [FROM_IMAGE, UNDECIDED])


@pytest.mark.parametrize(("stored", "given"), [(Stored(20, 40), (40, 20)), (Stored(20, 40, 6), (21, 40))])
def test_other_sizes_are_refused(stored, given):
    with pytest.raises(ValueError, match="not those of the image, which is 40 x 20 pixels"):
        settled_size(stored, *given, [])
