import unicodedata

import pytest

from models.data.image_names import find_image, image_folder, leads_out


@pytest.fixture
def folder(tmp_path):
    for name in ("set/a.png", "set/sub/b.png", "set/sub/b c.png", "secret.png", "set/50%.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("sub/b.png", "sub/b.png"),
        ("sub\\b.png", "sub/b.png"),
        ("C:\\data\\set\\sub\\b.png", "sub/b.png"),
        ("sub/b%20c.png", "sub/b c.png"),
        ("sub%5Cb%20c.png", "sub/b c.png"),
        ("50%.png", "50%.png"),
        ("/data/elsewhere/sub/b.png", "sub/b.png"),
        ("other/a.png", "a.png"),
        ("../../media/upload/a.png", "a.png"),
        ("sub/../a.png", "a.png"),
        ("https://host/set/sub/b%20c.png", "sub/b c.png"),
        ("b.png", None),
        ("sub", None),
        ("", None),
        ("a\0.png", None),
        ("x" * 5000, None),
    ],
)
def test_names_as_tools_write_them(folder, name, path):
    assert find_image(folder, name) == path


@pytest.mark.parametrize("name", ["../secret.png", "sub/../../secret.png", "..%2fsecret.png", "..\\secret.png"])
def test_no_name_leaves_the_folder(folder, name):
    assert find_image(folder, name) is None
    assert leads_out(name)
    assert find_image(folder, str(folder.parent / "secret.png")) is None
    assert leads_out(str(folder.parent / "secret.png"))
    assert leads_out("C:\\secret.png")
    assert not leads_out("sub/b.png")


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_accents_meet_in_any_form(tmp_path, stored, written):
    name = unicodedata.normalize(stored, "caf\u00e9.png")
    (tmp_path / name).touch()
    assert find_image(tmp_path, unicodedata.normalize(written, name)) == name


def test_the_folder_is_that_of_most_images(folder):
    top, sub = folder, folder / "sub"
    assert image_folder([top, sub], ["a.png", "50%.png"]) == top
    assert image_folder([top, sub], ["b.png", "b c.png", "a.png"]) == sub
    assert image_folder([sub, top], ["sub/b.png"]) == top
    assert image_folder([sub, top], ["none.png"]) is None
    assert image_folder([], ["a.png"]) is None
