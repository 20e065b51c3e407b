"""Models that transformers saved, published at a hub and loaded by name, against transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

MODEL = "somebody/pages-detr"
SIDES = (96, 133)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """A small DETR with random weights whose logits and boxes differ from query to query."""
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
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        detr = transformers.DetrForObjectDetection(config)
        for name, value in detr.named_parameters():
            if value.dim() >= 2 and ("predictor" in name or "classifier" in name or "query_position" in name):
                value.normal_(0, 1.5 if "query" in name else 1.5 * value.shape[1] ** -0.5)
        return detr.eval()


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*SIDES, 3), np.uint8)


def saved(detr: nn.Module, folder: Path, **options: Any) -> dict[str, bytes]:
    """The files of a repository: the model, and an image processor that does not resize images of `SIDES`."""
    processor = {"shortest_edge": SIDES[0], "longest_edge": SIDES[1]}
    transformers.DetrImageProcessor(size=processor, image_mean=MEAN, image_std=STD).save_pretrained(folder)
    detr.save_pretrained(folder, **options)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def expected(detr: nn.Module, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(image).permute(2, 0, 1) / 255
    pixels = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        output = detr(pixel_values=pixels[None])
    assert output.logits.std() > 0.1
    assert output.pred_boxes.std() > 0.01
    return output.logits, output.pred_boxes


@pytest.mark.parametrize("form", ["safetensors", "shards", "pickle"])
def test_a_model_of_the_hub_computes_what_transformers_does(
    hub: Any, user: Any, theirs: nn.Module, image: NDArray[np.uint8], tmp_path: Path, form: str
) -> None:
    files = saved(theirs, tmp_path / "saved", **({"max_shard_size": "60KB"} if form == "shards" else {}))
    if form == "pickle":
        del files["model.safetensors"]
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
        files["pytorch_model.bin"] = (tmp_path / "pytorch_model.bin").read_bytes()
    assert ("model.safetensors.index.json" in files) == (form == "shards")
    hub.add(MODEL, files | {"README.md": b"# A model"})
    np.save(tmp_path / "image.npy", image)
    done = user("detect", MODEL, image=str(tmp_path / "image.npy"))
    assert done["name"] == MODEL
    logits, boxes = expected(theirs, image)
    torch.testing.assert_close(torch.tensor(done["logits"]), logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor(done["boxes"]), boxes, rtol=0, atol=1e-4)


def test_transformers_runs_a_model_of_the_hub_that_our_own_network_cannot(
    hub: Any, user: Any, image: NDArray[np.uint8], tmp_path: Path
) -> None:
    backbone = transformers.ResNetConfig(
        layer_type="basic", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"]
    )
    config = transformers.ConditionalDetrConfig(
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
        detr = transformers.ConditionalDetrForObjectDetection(config).eval()
    commit = hub.add(MODEL, saved(detr, tmp_path / "saved"))
    np.save(tmp_path / "image.npy", image)
    done = user("detect", MODEL, image=str(tmp_path / "image.npy"))
    assert (done["name"], done["commit"], done["engine"]) == (MODEL, commit, "transformers")
    assert user("resolve", MODEL)["error"] == "ForeignModel"


def test_weights_say_their_repository_and_commit(hub: Any, user: Any, theirs: nn.Module, tmp_path: Path) -> None:
    commit = hub.add(MODEL, saved(theirs, tmp_path / "saved"), ref="v1.0")
    done = user("resolve", f"{MODEL}@v1.0")
    assert (done["name"], done["source"], done["commit"]) == (MODEL, f"{MODEL}@{commit}", commit)


def test_a_folder_of_that_name_comes_first(hub: Any, user: Any, theirs: nn.Module, tmp_path: Path) -> None:
    hub.add(MODEL, saved(theirs, tmp_path / "saved"))
    folder = tmp_path / MODEL
    saved(theirs, folder)
    done = user("resolve", MODEL, directory=str(tmp_path))
    assert (done["name"], done["commit"]) == (folder.name, None)
    assert done["source"] == MODEL
    assert hub.asked == []


def test_a_model_to_train_from_is_found_at_the_hub(hub: Any, user: Any, theirs: nn.Module, tmp_path: Path) -> None:
    hub.add(MODEL, saved(theirs, tmp_path / "saved"))
    assert user("starting point", MODEL) | {"progress": [], "log": []} == {
        "name": MODEL,
        "labels": ["text", "table"],
        "progress": [],
        "log": [],
    }
    assert user("starting point", "nobody/nothing")["error"] == "UnknownModel"
