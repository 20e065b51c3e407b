import threading
from pathlib import Path

import pytest

from models.weights.cache import cached_path, default_cache_dir, locked
from models.weights.errors import UnknownModel


def test_the_platform_cache_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "act-detr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "act-detr"


def test_a_file_is_cached_under_its_published_name_only(tmp_path: Path) -> None:
    assert cached_path("detr-r50", tmp_path) is None
    (tmp_path / "detr-r50-e632da11.pth.part").touch()
    assert cached_path("detr-r50", tmp_path) is None
    (tmp_path / "detr-r50-e632da11.pth").touch()
    assert cached_path("detr-r50", tmp_path) == tmp_path / "detr-r50-e632da11.pth"


def test_an_embedded_model_needs_no_download() -> None:
    with pytest.raises(UnknownModel, match="pages-large is part of the package"):
        cached_path("pages-large")


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"'yolo'.*detr-r50, detr-r50-dc5"):
        cached_path("yolo", tmp_path)


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside = threading.Event()

    def enter() -> None:
        with locked(tmp_path / "file"):
            inside.set()

    with locked(tmp_path / "file"):
        other = threading.Thread(target=enter)
        other.start()
        assert not inside.wait(0.1)
    other.join(10)
    assert inside.is_set()
