"""Folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.export.errors import CannotExport
from models.export.folder import whole_folder


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_appears_whole(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "a" / "b"
    if exists:
        path.mkdir(parents=True)
    with whole_folder(path) as part:
        (part / "file").write_text("x")
        assert not (path / "file").exists()
    assert [file.name for file in path.iterdir()] == ["file"]
    assert [file.name for file in path.parent.iterdir()] == ["b"]


def begin_and_fail(path: Path) -> None:
    with whole_folder(path) as part:
        (part / "file").write_text("x")
        raise RuntimeError("broken")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        begin_and_fail(tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(CannotExport, match="new or empty"), whole_folder(path):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
