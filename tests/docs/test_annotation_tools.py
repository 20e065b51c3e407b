"""The examples of docs/annotation-tools.md, run with the tools themselves on answers of a real server.

Some tools want other versions of common packages than the service, or are large. They may be installed elsewhere:
ACT_DETR_TOOLS_PYTHON names interpreters, separated as in PATH, beside that of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models import load_detector
from models.named_models import PAGE_LABELS
from service.result_formats.label_studio import labelling_interface

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "annotation-tools.md").read_text(encoding="utf-8")
SAMPLE = ROOT / "models" / "pretrained" / "sample-page.jpg"
PYTHONS = [sys.executable, *filter(None, os.environ.get("ACT_DETR_TOOLS_PYTHON", "").split(os.pathsep))]


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of a section."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.M)[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)


@cache
def python_with(package: str) -> str:
    """An interpreter that has a package; skips the test where none has."""
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    for python in PYTHONS:
        if subprocess.run([python, "-c", look]).returncode == 0:
            return python
    pytest.skip(
        f"{package} is not installed: pip install {package.replace('_', '-')}, in an environment of its own whose "
        "interpreter ACT_DETR_TOOLS_PYTHON names"
    )


@pytest.fixture(scope="module")
def folder(run_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page's first commands make, and the annotations of its one image."""
    folder = tmp_path_factory.mktemp("tools")
    shutil.copy(SAMPLE, folder / "page.jpg")
    commands = re.findall(r"^curl (.*localhost:8000(/\S*?)'?) > (\S+)$", PAGE, re.M)
    assert [file for *_, file in commands] == ["answer.json", "results.json", "prediction.json", "model.json"]
    with run_server(load_detector(device="cpu")) as server:
        for command, address, file in commands:
            sends = "--data-binary @page.jpg" in command
            method, body = ("POST", SAMPLE.read_bytes()) if sends else ("GET", b"")
            (folder / file).write_bytes(server.client.request(method, address, content=body).content)
    answer, ids = (json.loads((folder / file).read_text()) for file in ("answer.json", "model.json"))
    ids = ids["category_ids"]
    boxes = [list(row["box"].values()) for row in answer["detections"]]
    objects = [
        {
            "id": number,
            "image_id": 1,
            "category_id": ids[row["label"]],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]),
            "iscrowd": 0,
        }
        for number, (row, box) in enumerate(zip(answer["detections"], boxes, strict=True), 1)
    ]
    document = {
        "images": [{"id": 1, **answer["image"]}],
        "annotations": objects,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def run(folder: Path, program: str, package: str = "json") -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "FIFTYONE_DO_NOT_TRACK": "true"}
    done = subprocess.run(
        [python_with(package), "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_labelling_interface_is_that_of_the_embedded_models() -> None:
    assert blocks("Label Studio", "xml") == [labelling_interface(PAGE_LABELS) + "\n"]


def test_label_studio_accepts_the_prediction(folder: Path) -> None:
    (example,) = blocks("Label Studio", "python")
    check = """
from label_studio_sdk.label_interface import LabelInterface
from service.result_formats.label_studio import label_studio_prediction, labelling_interface

answer = json.load(open("answer.json"))
labels = list(json.load(open("model.json"))["category_ids"])
(task,) = json.load(open("tasks.json"))
interface = LabelInterface(labelling_interface(labels))
assert len(task["predictions"][0]["result"]) == len(answer["detections"]) > 5
assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
answer["detections"][0]["segmentation"] = [[10, 10, 50, 10, 50, 50]]
answer["detections"] = answer["detections"][:1]
interface = LabelInterface(labelling_interface(labels, "polygonlabels"))
assert interface.validate_prediction(label_studio_prediction(answer), return_errors=True) == []
"""
    run(folder, example + check, "label_studio_sdk")


def test_label_studios_converter_gives_the_boxes_back(folder: Path) -> None:
    check = """
import json

from label_studio_sdk.converter import Converter
from service.result_formats.label_studio import labelling_interface

annotation = {"id": 1, "completed_by": 1, "result": json.load(open("prediction.json"))["result"]}
json.dump([{"id": 1, "data": {"image": "page.jpg"}, "annotations": [annotation]}], open("export.json", "w"))
interface = labelling_interface(list(json.load(open("model.json"))["category_ids"]))
Converter(interface, ".", download_resources=False).convert_to_coco("export.json", "converted", is_dir=False)
converted = json.load(open("converted/result.json"))["annotations"]
truth = json.load(open("annotations.json"))["annotations"]
assert len(converted) == len(truth) > 5
for one, other in zip(converted, truth):
    assert all(abs(a - b) < 0.01 for a, b in zip(one["bbox"], other["bbox"]))
"""
    run(folder, check, "label_studio_sdk")


@pytest.mark.parametrize("package", ["pycocotools", "faster_coco_eval"])
def test_cocos_evaluators_read_the_results(folder: Path, package: str) -> None:
    example = blocks("COCO evaluation", "python")[0]
    if package == "faster_coco_eval":
        imports = "from faster_coco_eval import COCO\nfrom faster_coco_eval import COCOeval_faster as COCOeval\n"
        example = re.sub(r"(from pycocotools.*\n)+", imports, example)
    run(folder, example + "assert abs(evaluation.stats[0] - 1) < 1e-6\n", package)


def test_classes_are_mapped_by_their_names(folder: Path) -> None:
    example = blocks("COCO evaluation", "python")[1]
    run(folder, example + "assert {row['image_id'] for row in rows} == {1} and len(rows) > 5\n")


def test_supervision_takes_the_answer(folder: Path) -> None:
    (example,) = blocks("supervision", "python")
    check = """
assert len(detections) == len(rows) > 5 and detections["class_name"][0] == "text"
drawn = sv.BoxAnnotator().annotate(np.full((1056, 816, 3), 255, np.uint8), detections)
assert (drawn != 255).any()
"""
    run(folder, example + check, "supervision")


def test_fiftyones_samples_take_the_answer(folder: Path) -> None:
    (example,) = blocks("FiftyOne", "python")
    check = """
found = sample["act_detr"].detections
assert len(found) == len(regions) > 5
assert all(0 <= side <= 1 for one in found for side in one.bounding_box)
"""
    run(folder, example + check, "fiftyone")
