from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from service.cli.journal import Journal
from service.http.schemas import RESULT_EXAMPLE, DetectionResult

RESULT = DetectionResult.model_validate(RESULT_EXAMPLE)
OPTIONS = {"threshold": 0.5}


def written(path: Path, *files: str) -> Path:
    with Journal(path, RESULT.model, OPTIONS) as journal:
        for file in files:
            journal.append(Path(file), RESULT)
    return path


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, RESULT.model, OPTIONS) as journal:
        for number, file in enumerate(("a", "图 \udce9", "b\nc"), 1):
            journal.append(Path(file), RESULT)
            assert len(path.read_bytes().splitlines()) == number
        assert [row["file"] for row in journal.rows()] == ["a", "图 \udce9", "b\nc"]
        for row in journal.rows():
            assert (row["options"], row["attention"]) == (OPTIONS, RESULT_EXAMPLE["attention"])


@pytest.mark.parametrize("left", [0, 1, 20, -1])
def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path, left: int) -> None:
    path = written(tmp_path / "journal", "a", "b")
    whole = path.read_bytes()
    first = whole[: whole.index(b"\n") + 1]
    path.write_bytes(first + whole[len(first) :][:left])
    with Journal(path, RESULT.model, OPTIONS) as journal:
        assert journal.done == {"a"}
        assert path.read_bytes() == first
        journal.append(Path("b"), RESULT)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line", [b"junk\n", b"\n", b"[]\n", b"3\n", b"{}\n", b'{"file": "a", "model": "m"}\n', b"\xff\n", b"\0\n"]
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "journal", "a")
    whole = path.read_bytes() + line
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="line 2 has no result and options"):
        Journal(path, RESULT.model, OPTIONS)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", [b"a", b"{}", b'{"files"', b"x" * 100])
def test_another_file_without_a_line_is_refused_too(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="line 1 has no result and options"):
        Journal(path, RESULT.model, OPTIONS)
    assert path.read_bytes() == text


def test_another_model_or_other_options_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "journal", "a")
    with pytest.raises(ValueError, match=r"pages-small with threshold=0\.5, not of other with threshold=0\.5: choose"):
        Journal(path, "other", OPTIONS)
    with pytest.raises(ValueError, match="not of pages-small with default options"):
        Journal(path, RESULT.model, {})


def test_only_one_writes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, RESULT.model, {}), pytest.raises(ValueError, match=f"another process is writing {path}"):
        Journal(path, RESULT.model, {})
    with Journal(path, RESULT.model, {}):
        pass


def test_a_line_that_does_not_fit_is_an_error_and_cut_off_later(tmp_path: Path) -> None:
    path = written(tmp_path / "journal", "a")
    whole, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path, RESULT.model, OPTIONS) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                journal.append(Path("b"), RESULT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes()[:-50] == whole
    with Journal(path, RESULT.model, OPTIONS) as journal:
        assert journal.done == {"a"}
    assert path.read_bytes() == whole


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_what_is_no_file_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=f"{device} is not a file"):
        Journal(Path(device), RESULT.model, OPTIONS)


def test_the_lines_are_json_that_others_read(tmp_path: Path) -> None:
    line = json.loads(written(tmp_path / "journal", "Straße.png").read_text(encoding="utf-8"))
    assert DetectionResult.model_validate(line) == RESULT
    assert (line["file"], line["options"]) == ("Straße.png", OPTIONS)
