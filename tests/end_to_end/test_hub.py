"""A service whose model comes from a Hugging Face hub: a real process, and a hub on real sockets."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from deploy.local_server import LocalServer

transformers = pytest.importorskip("transformers")

MODEL = "somebody/pages-detr"
HEIGHT, WIDTH = 96, 133
SIZE = {"shortest_edge": HEIGHT, "longest_edge": WIDTH}


@pytest.fixture
def at_hub(hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The hub, which processes know by their environment."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name, value in {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1,localhost",
    }.items():
        monkeypatch.setenv(name, value)
    return hub


def published(folder: Path) -> tuple[Any, dict[str, bytes]]:
    """A small DETR with random weights, and the files that transformers saves of it and of its image processor."""
    backbone = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=9,
        id2label={0: "text", 1: "table"},
        label2id={"text": 0, "table": 1},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detr = transformers.DetrForObjectDetection(config).eval()
    detr.save_pretrained(folder)
    transformers.DetrImageProcessor(size=SIZE).save_pretrained(folder)
    return detr, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_the_service_serves_a_model_of_the_hub(at_hub: Any, tmp_path: Path) -> None:
    detr, files = published(tmp_path / "saved")
    commit = at_hub.add(MODEL, files | {"README.md": b"# A model"})
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    png = BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    settings = {"MODEL": MODEL, "CACHE_DIR": str(tmp_path / "cache"), "DEVICE": "cpu", "THREADS": "1"}
    with (
        LocalServer(tmp_path / "log", **settings) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client,
    ):
        server.wait_until_ready()
        answer = client.post("/detect?attention=exact&threshold=0", content=png.getvalue()).json()
        card = client.get("/model").json()
        assert server.stop() == 0
        lines = server.log_lines()
    assert answer["model"] == card["name"] == MODEL
    assert card["commit"] == commit
    assert card["labels"] == ["text", "table"]
    assert {line["level"] for line in lines} <= {"info", "warning"}  # every line is the service's own
    assert f"{MODEL} is at commit {commit}" in [line["message"] for line in lines]
    assert_same_detections(detr, pixels, answer["detections"])


def assert_same_detections(detr: Any, pixels: NDArray[np.uint8], rows: list[dict[str, Any]]) -> None:
    """Corners are rounded to hundredths, scores to ten-thousandths; ours end at the image's border."""
    processor = transformers.DetrImageProcessor(size=SIZE)
    with torch.no_grad():
        output = detr(**processor(images=pixels, return_tensors="pt"))
    (theirs,) = processor.post_process_object_detection(output, threshold=0.0, target_sizes=[(HEIGHT, WIDTH)])
    order = theirs["scores"].argsort(descending=True)
    assert len(rows) == len(order) == 9
    assert [row["label"] for row in rows] == [detr.config.id2label[int(i)] for i in theirs["labels"][order]]
    np.testing.assert_allclose([row["score"] for row in rows], theirs["scores"][order], atol=2e-4)
    inside = theirs["boxes"][order].clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    np.testing.assert_allclose([list(row["box"].values()) for row in rows], inside, atol=0.02)


@pytest.mark.slow
def test_a_service_whose_model_the_hub_lacks_says_so_and_ends(at_hub: Any, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "log", MODEL="nobody/nothing", DEVICE="cpu") as server:
        assert server.process.wait(250) == 1
        (line,) = (line for line in server.log_lines() if line["level"] == "error")
    assert f"{at_hub.endpoint} has no model nobody/nothing" in line["message"]
    assert "Traceback" not in (tmp_path / "log").read_text()
