"""Every command where the packages of training are not installed: they are hidden from a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from models.data.pages import render_page

ROOT = Path(__file__).parents[3]
TRAINING = {"faster_coco_eval", "matplotlib", "scipy", "tensorboard"}
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "page.png"
    render_page(0, 128, 96).image.save(path)
    return path


def act_detr(
    folder: Path, *arguments: object, hidden: set[str] = TRAINING, module: str = "service.cli.main"
) -> subprocess.CompletedProcess[str]:
    """Run the command line, or another module, without the hidden packages."""
    (folder / "sitecustomize.py").write_text(HIDE.format(packages=hidden))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACT_DETR_")}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment
        | {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_hidden_packages_are_those_of_the_extra() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    assert {re.split("[<>=]", package)[0].replace("-", "_") for package in extra} == TRAINING


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("evaluate", "--data", "pages:1"), "faster_coco_eval"),
        (
            ("train", "--data", "pages", "--output", "out", "--steps", 1),
            "faster_coco_eval, matplotlib, scipy, tensorboard",
        ),
    ],
)
def test_commands_with_missing_packages_say_what_to_install(
    tmp_path: Path, arguments: tuple[object, ...], missing: str
) -> None:
    result = act_detr(tmp_path, *arguments)
    assert result.returncode == 1
    assert (
        result.stderr == f"{arguments[0]} needs {missing}: run pip install '.[train]' in a checkout of the repository\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("detect", "IMAGE", "--threshold", 0), "attention over"),
        (("tune", "--images", "FOLDER", "--max-drift", 1000, "--mode", "tangent", "--limit", 1), "recommended|no box"),
        (("models",), "pages-small"),
        (("serve", "--model", "nowhere.pt", "--port", 0), "nowhere.pt"),
        (("download", "nothing"), "nothing"),
        (("--help",), "evaluate"),
    ],
)
def test_other_commands_need_only_a_plain_installation(
    tmp_path: Path, image: Path, arguments: tuple[object, ...], output: str
) -> None:
    places = {"IMAGE": image, "FOLDER": image.parent}
    result = act_detr(tmp_path, *(places.get(str(argument), argument) for argument in arguments))
    assert re.search(output, result.stdout + result.stderr)
    assert "Traceback" not in result.stderr
    assert "No module named" not in result.stderr


def test_writing_pages_needs_only_a_plain_installation(tmp_path: Path) -> None:
    result = act_detr(tmp_path, "pages", "--train", 1, "--val", 1, module="models.data.write_pages")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "pages" / "annotations" / "instances_val2017.json").exists()


@pytest.mark.slow
def test_evaluation_needs_only_the_packages_that_it_names(tmp_path: Path) -> None:
    options = ("--data", "pages:1:320x256", "--attention", "exact", "--size", 64)
    result = act_detr(tmp_path, "evaluate", *options, hidden={"matplotlib", "scipy", "tensorboard"})
    assert result.returncode == 0, result.stderr
    assert "precision on 1 images" in result.stdout
