"""Models that transformers runs, behind the real service, on the command line and in an evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from models import AttentionConfig, load_detector
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.evaluation.evaluate import evaluate
from service.cli.main import app

transformers = pytest.importorskip("transformers")

Saved = Callable[[str], Path]


def test_the_service_refuses_clusters_where_they_do_not_apply(
    saved: Saved, run_server: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    detector = load_detector(str(saved("deformable-detr")), device="cpu")
    with run_server(detector, attention="act") as running:
        card = running.client.get("/model").json()
        assert (card["family"], card["engine"]) == ("deformable_detr", "transformers")
        assert card["attention_modes"] == ["exact", "auto"]
        assert "sampled points" in card["attention_note"]
        assert card["default_attention"]["mode"] == "exact"
        body = encoded(size=(128, 96))
        refused = running.client.post("/detect?attention=tangent", content=body)
        assert refused.status_code == 422
        assert refused.json()["type"] == "bad-parameter"
        assert "sampled points" in refused.json()["detail"]
        for query in ("", "?attention=auto"):
            answer = running.client.post(f"/detect{query}", content=body).json()
            assert answer["attention"]["mode"] == "exact"
            assert answer["attention"]["encoder_gflops"] == answer["attention"]["exact_encoder_gflops"] > 0
        running.eventually(lambda: running.metric("act_detr_images_total", attention="exact") == 2)
        assert running.metric("act_detr_clusters_count", attention="act", layer="0") == 0


def test_the_service_clusters_where_they_apply(
    saved: Saved, run_server: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    detector = load_detector(str(saved("conditional-detr")), device="cpu")
    with run_server(detector) as running:
        card = running.client.get("/model").json()
        assert card["attention_modes"] == ["exact", "act", "tangent", "auto"]
        assert card["attention_note"] is None
        body = encoded(size=(128, 96))
        answer = running.client.post("/detect?attention=tangent&C=4&threshold=0", content=body).json()
        assert [row["layer"] for row in answer["attention"]["clusters"]] == [0, 1]
        assert answer["attention"]["C"] == 4
        assert len(answer["detections"]) == 35  # every pair of query and class
        running.eventually(lambda: running.metric("act_detr_clusters_count", attention="tangent", layer="0") == 1)


def test_the_command_line_detects_and_says_what_does_not_apply(saved: Saved, tmp_path: Path) -> None:
    Image.new("RGB", (128, 96), "white").save(tmp_path / "page.png")
    common = ["detect", str(tmp_path / "page.png"), "--model", str(saved("deformable-detr")), "--json"]
    done = CliRunner().invoke(app, common)
    assert done.exit_code == 0, done.output
    attention = json.loads(done.stdout)["attention"]
    assert attention["mode"] == "exact"
    assert "sampled points" in attention["reason"]
    refused = CliRunner().invoke(app, [*common, "--attention", "act"])
    assert refused.exit_code == 2
    assert "sampled points" in " ".join(refused.stderr.split())


def test_the_command_line_says_what_can_be_trained(saved: Saved, tmp_path: Path) -> None:
    refused = CliRunner().invoke(
        app, ["train", "--data", "pages", "--output", str(tmp_path / "run"), "--model", str(saved("rt-detr"))]
    )
    assert refused.exit_code == 1
    assert "only act-detr's own network" in " ".join(refused.output.split())


@pytest.mark.parametrize("name", ["conditional-detr", "detr-swin", "rt-detr"])
def test_an_evaluation_compares_attention(name: str, saved: Saved, images: list[Any]) -> None:
    detector = load_detector(str(saved(name)), device="cpu", precision="fp32")
    samples = [Sample(image, best_found(detector, image)) for image in images[:2]]
    exact, act, tangent = evaluate(
        detector, samples, [AttentionConfig.exact(), AttentionConfig.act(8, 1e-4), AttentionConfig.tangent(4)]
    )
    assert act.fidelity is not None
    assert tangent.fidelity is not None
    assert act.fidelity.encoder_error < 1e-4 < tangent.fidelity.encoder_error
    assert exact.gflops.encoder == exact.exact_gflops.encoder == tangent.exact_gflops.encoder
    assert tangent.gflops.attention > 0
    assert exact.gflops.total is None
    assert len(tangent.clusters) == (1 if name == "rt-detr" else 2)
    assert all(count <= 4 for count in tangent.clusters)


def best_found(detector: Any, image: Any) -> GroundTruth:
    """What the model itself is surest of, by exact attention."""
    detections = detector.detect(image).detections.select(max_detections=3)
    return GroundTruth(detections.boxes_xyxy, detections.labels)
