"""The commit of a real working tree, and the environment of this process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.measurement.environment import commit, run_environment


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("models/code.py", "docs/reproduction/results.json", "deploy/loadtest/results/results.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    return tmp_path


def test_commit_ignores_changes_in_results(tree: Path) -> None:
    (tree / "docs/reproduction/results.json").write_text("2")
    (tree / "deploy/loadtest/results/results.json").unlink()
    (tree / "models/new.txt").touch()
    assert commit(tree / "models") == git(tree, "rev-parse", "HEAD")


def test_commit_marks_changed_sources(tree: Path) -> None:
    (tree / "models/code.py").write_text("2")
    assert commit(tree / "docs") == git(tree, "rev-parse", "HEAD") + "+changes"


def test_commit_is_empty_outside_of_git(tmp_path: Path) -> None:
    assert commit(tmp_path / "nowhere") == ""


def test_run_environment_names_versions_and_command() -> None:
    environment = run_environment(torch.device("cpu"))
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()
    assert environment["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert "pytest" in str(environment["command"])


def test_a_command_tells_nothing_of_the_folders_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd() / "models" / "page.jpg"
    arguments = ["--image", "/home/someone/page.jpg", f"--output={here}", str(here), "--threads=2", "docs/x.json"]
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    command = str(run_environment(torch.device("cpu"))["command"])
    assert command.endswith(" --image page.jpg --output=models/page.jpg models/page.jpg --threads=2 docs/x.json")
