"""The examples of docs/export.md, as they stand there: they print what act-detr detects."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.data.pages import render_page
from models.detector import load_detector

TANGENT = "tangent:C=5,rounds=1"
PAGE = Path(__file__).parents[3] / "docs" / "export.md"
EXAMPLES = {
    re.search(r'"(pages-\w+)', code)[1]: code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
}
PACKAGES = {
    "pages-transformers": ("transformers", None, "exact"),
    "pages-onnx": ("onnx", TANGENT, TANGENT),
    "pages-openvino": ("openvino", TANGENT, TANGENT),
}
NUMBER = r"-?\d+\.?\d*(?:e-?\d+)?"


def test_every_format_has_an_example() -> None:
    assert EXAMPLES.keys() == PACKAGES.keys()
    for code in EXAMPLES.values():
        statements = [line for line in code.splitlines() if line and not re.match("import |from ", line)]
        assert len(statements) <= 11


@pytest.mark.slow
@pytest.mark.parametrize("folder", PACKAGES)
def test_an_example_prints_the_detections(
    folder: str,
    graph_folder: Callable[..., Path],
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    form, exported, attention = PACKAGES[folder]
    for package in {"onnx": ("onnxscript", "onnxruntime")}.get(form, (form,)):
        pytest.importorskip(package)
    detector = load_detector(str(model_file), device="cpu")
    if form == "transformers":
        detector = detector.without_box_refinement()
    (tmp_path / folder).symlink_to(graph_folder(form, exported))
    image = render_page(1, 82, 64).image  # of the size that the model takes: nothing is resized
    image.save(tmp_path / "page.png")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(EXAMPLES[folder], f"{PAGE.name}: {folder}", "exec"), {})

    prediction = detector.detect(np.asarray(image), AttentionConfig.parse(attention))
    expected = sorted(prediction.detections.select(0.5, nms=detector.config.nms), key=lambda one: one[1])
    printed = sorted((read(line) for line in capsys.readouterr().out.splitlines()), key=lambda one: one[1])
    assert [one[0] for one in printed] == [one[0] for one in expected]
    assert expected
    np.testing.assert_allclose([one[1] for one in printed], [one[1] for one in expected], rtol=0, atol=1e-3)
    np.testing.assert_allclose([one[2] for one in printed], [one[2] for one in expected], rtol=0, atol=0.1)


def read(line: str) -> tuple[str, float, list[float]]:
    label, score, rest = line.split(" ", 2)
    return label, float(score), [float(number) for number in re.findall(NUMBER, rest)]
