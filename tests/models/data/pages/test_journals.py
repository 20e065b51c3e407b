"""The first kind of pages stays as it was: its figures can be compared with earlier ones."""

import hashlib
from collections.abc import Iterator

import PIL
import pytest
from PIL import features

from models.data.pages import fonts, render_page

DRAWN_WITH = ("13.0.0", "2.14.3")
"""Versions of Pillow and FreeType."""
DIGESTS = (
    "0cc95cea7177c074",
    "1bdbbc7fe1a8541a",
    "9c0e8e32f509518c",
    "ede007a2886607a7",
    "e762ae3648d355c4",
    "5c17d82a701dbdf8",
)
"""Of the pages of seeds 0 to 5 in the font that Pillow brings, before there were other kinds."""


@pytest.fixture(name="no_fonts")
def _no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fonts, "FONT_FOLDERS", ("/nowhere",))
    fonts.installed_files.cache_clear()
    fonts.families.cache_clear()
    yield
    fonts.installed_files.cache_clear()
    fonts.families.cache_clear()


@pytest.mark.usefixtures("no_fonts")
def test_pages_are_those_of_before() -> None:
    if (PIL.__version__, features.version("freetype2")) != DRAWN_WITH:
        pytest.skip("another Pillow or FreeType may draw letters otherwise")
    for seed, digest in enumerate(DIGESTS):
        page = render_page(seed, 288, 224, "journals")
        drawn = hashlib.sha256(page.image.tobytes() + page.boxes_xyxy.tobytes() + page.labels.tobytes())
        assert drawn.hexdigest()[:16] == digest, seed
