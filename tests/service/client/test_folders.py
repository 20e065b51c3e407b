from __future__ import annotations

from pathlib import Path

import pytest

from service.client.folders import SUFFIXES, image_files
from service.images.image_formats import MEDIA_TYPES


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "deep/er/ü.webp", "deep/c.tiff", ".git/x.png", "empty/"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    (tmp_path / "linked.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    found = [str(path.relative_to(tmp_path)) for path in image_files([tmp_path])]
    assert found == ["a.png", "b.JPG", "deep/c.tiff", "deep/er/ü.webp", "linked.png"]


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    files = [tmp_path / "notes.txt", tmp_path / "missing.png"]
    files[0].write_bytes(b"")
    assert list(image_files([*files, tmp_path])) == files
    assert list(image_files([str(files[0])])) == files[:1]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError):
        list(image_files([tmp_path]))


def test_every_format_that_the_service_reads_has_its_suffixes() -> None:
    names = {kind.removeprefix("image/") for kind in MEDIA_TYPES}
    assert {f".{name}" for name in names} <= SUFFIXES
