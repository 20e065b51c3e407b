"""Graphs for ONNX Runtime and OpenVINO, run by these, against what serves requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.attention_config import AttentionConfig
from models.data.pages import render_page
from models.detector import Detector, load_detector
from models.detr.roi_means import weighted_rows
from models.evaluation.weights_digest import weights_digest
from models.export import engines, export
from models.export.check import CLUSTERED_BOUND, EXACT_BOUND, check_suppression, differences, reference
from models.export.errors import CannotExport, ExportDiffers, MissingPackage
from models.export.export import Request, export_model, require_packages
from models.export.graph import DetectionGraph, GraphSettings

TANGENT = "tangent:C=5,rounds=1"
MERGED = [("onnx", "merge:ratio=0.5"), ("openvino", "merge:ratio=0.75,C=5")]
GRAPHS = [("onnx", "exact"), ("onnx", TANGENT), ("openvino", TANGENT), *MERGED]
HEIGHT, WIDTH = 82, 64  # of a letter page, for a model whose shortest side is 64
REAL_PAGES = Path(__file__).parents[4] / "shared" / "data" / "pages"


@pytest.fixture(scope="module")
def detector(model_file: Path) -> Detector:
    return load_detector(str(model_file), device="cpu", precision="fp32")


def pages() -> list[np.ndarray]:
    """Pages that the export itself did not run."""
    from PIL import Image

    files = sorted(REAL_PAGES.rglob("*.jpg"))[:3]
    real = [np.array(Image.open(file).convert("RGB").resize((WIDTH, HEIGHT))) for file in files]
    return [np.array(render_page(seed, HEIGHT, WIDTH).image) for seed in range(3)] + real


def run(form: str, folder: Path, image: np.ndarray) -> dict[str, Any]:
    pytest.importorskip({"onnx": "onnxruntime"}.get(form, form))
    return (engines.run_onnx if form == "onnx" else engines.run_openvino)(folder, image[None])


@pytest.mark.slow
@pytest.mark.parametrize(("form", "attention"), GRAPHS)
def test_a_graph_computes_what_requests_get(
    form: str, attention: str, graph_folder: Callable[..., Path], detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = graph_folder(form, attention)
    setting = AttentionConfig.parse(attention)
    bound = EXACT_BOUND if attention == "exact" else CLUSTERED_BOUND
    kept = 0
    for image in pages():
        monkeypatch.setattr("models.export.check.drawn_page", lambda *_, image=image: image)
        ours, theirs = reference(detector, setting, HEIGHT, WIDTH), run(form, folder, image)
        assert {name: (value.shape, value.dtype) for name, value in theirs.items()} == {
            "boxes": ((1, 9, 4), np.float32),
            "scores": ((1, 9), np.float32),
            "labels": ((1, 9), np.int64),
            "keep": ((1, 9), np.bool_),
        }
        differences(ours, theirs, bound).check(form)
        check_suppression(ours, theirs, detector.config.nms, form)
        kept += int(theirs["keep"].sum())
    assert 0 < kept < 9 * len(pages())  # the suppression has something to do


@pytest.mark.slow
def test_an_onnx_file_says_what_it_is(graph_folder: Callable[..., Path], detector: Detector) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = graph_folder("onnx", TANGENT)
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.onnx"]
    metadata = onnxruntime.InferenceSession(folder / "model.onnx").get_modelmeta().custom_metadata_map
    says(metadata, detector)


@pytest.mark.slow
def test_openvino_files_say_what_they_are(graph_folder: Callable[..., Path], detector: Detector) -> None:
    openvino = pytest.importorskip("openvino")
    folder = graph_folder("openvino", TANGENT)
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "model.bin", "model.xml"]
    model = openvino.Core().read_model(folder / "model.xml")
    names = ("labels", "attention", "nms", "weights_sha256", "height", "width")
    says({name: model.get_rt_info(["act_detr", name]).astype(str) for name in names}, detector)
    assert list(model.input("image").shape) == [1, HEIGHT, WIDTH, 3]


def says(metadata: dict[str, str], detector: Detector) -> None:
    assert json.loads(metadata["labels"]) == list(detector.config.labels)
    assert json.loads(metadata["attention"]) == TANGENT
    assert json.loads(metadata["nms"]) == 0.6
    assert (json.loads(metadata["height"]), json.loads(metadata["width"])) == (HEIGHT, WIDTH)
    assert json.loads(metadata["weights_sha256"]) == weights_digest(detector)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "act"}, "how many clusters it makes"),
        ({"attention": "window"}, "the mode must be one of"),
        ({"height": 64}, "together, or neither"),
        ({"nms": 3.0}, "nms 3"),
    ],
)
def test_what_no_graph_can_hold_is_said(
    model_file: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    with pytest.raises(CannotExport, match=message):
        export_model(Request(str(model_file), "onnx", tmp_path / "x", **options), tell=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_written(
    model_file: Path, tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    graph = DetectionGraph(detector.detr, GraphSettings(HEIGHT, WIDTH, AttentionConfig.exact(), 0.6))

    def wrong(folder: Path, image: np.ndarray) -> dict[str, Any]:
        with torch.no_grad():
            results = dict(zip(("boxes", "scores", "labels", "keep"), graph(torch.from_numpy(image)), strict=True))
        return {name: value.numpy() + (0.01 if name == "boxes" else 0) for name, value in results.items()}

    monkeypatch.setattr(export, "exported_program", lambda graph: graph)
    monkeypatch.setattr(export, "write_onnx", lambda program, folder, metadata: (folder / "model.onnx").touch())
    monkeypatch.setattr(export, "run_onnx", wrong)
    with pytest.raises(ExportDiffers, match=r"boxes by 0\.01 of the image, where 0\.001 is allowed"):
        export_model(Request(str(model_file), "onnx", tmp_path / "x"), tell=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_classes_without_a_name_are_not_kept(detector: Detector) -> None:
    settings = GraphSettings(HEIGHT, WIDTH, AttentionConfig.exact(), None)
    graph, image = DetectionGraph(detector.detr, settings), torch.from_numpy(pages()[0])[None]
    with torch.no_grad():
        _, _, classes, keep = graph(image)
        assert keep.all()
        graph.named[classes[0, 0]] = False
        assert torch.equal(graph(image)[3], classes != classes[0, 0])


@pytest.mark.parametrize("missing", ["onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = export.find_spec
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(MissingPackage, match=rf"export --format onnx needs .*{missing}.*pip install '\.\[export\]'"):
        require_packages("onnx")


def test_weighted_rows_is_the_plain_twin_of_embedding_bag() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    index = torch.randint(0, 30, (12, 4), generator=generator)
    weight = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    bag = nn.functional.embedding_bag(index, rows, mode="sum", per_sample_weights=weight)
    torch.testing.assert_close(weighted_rows(rows, index, weight), bag, rtol=0, atol=1e-13)
