"""The commit of a real working tree."""

import subprocess
from pathlib import Path

import pytest

from models.measurement.environment import commit


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("models/code.py", "docs/reproduction/found.json", "deploy/loadtest/results/found.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    return tmp_path


def test_what_runs_write_is_no_change(tree: Path) -> None:
    (tree / "docs/reproduction/found.json").write_text("2")
    (tree / "deploy/loadtest/results/found.json").unlink()
    (tree / "models/new.txt").touch()
    assert commit(tree / "models") == git(tree, "rev-parse", "HEAD")


def test_changed_source_is_told(tree: Path) -> None:
    (tree / "models/code.py").write_text("2")
    assert commit(tree / "docs") == git(tree, "rev-parse", "HEAD") + "+changes"


def test_there_is_none_outside_of_git(tmp_path: Path) -> None:
    assert commit(tmp_path / "nowhere") == ""
