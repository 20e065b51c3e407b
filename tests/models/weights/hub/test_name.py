from __future__ import annotations

import pytest

from models.weights.hub import HubModel


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("facebook/detr-resnet-50", "facebook/detr-resnet-50", "main"),
        ("facebook/detr-resnet-50@no_timm", "facebook/detr-resnet-50", "no_timm"),
        ("microsoft/table-transformer-structure-recognition-v1.1-all@refs/pr/3", None, "refs/pr/3"),
        ("a/b@" + "0" * 40, "a/b", "0" * 40),
        ("0rg_x/1.5", "0rg_x/1.5", "main"),
    ],
)
def test_a_name_is_a_repository_and_perhaps_a_revision(text: str, repository: str | None, revision: str) -> None:
    model = HubModel.parse(text)
    assert model is not None
    assert model.repository == (repository or text.partition("@")[0])
    assert model.revision == revision
    assert HubModel.parse(str(model)) == model
    assert model.is_pinned == (revision == "0" * 40)


@pytest.mark.parametrize(
    "text",
    [
        *("", "detr-r50", "a/b/c", "/a/b", "./a/b", "../b", "~/b", "a/../b", "a/", "/b", "a//b"),
        *("a b/c", "a/b@", "a@b/c"),
        *("runs/best.safetensors", "runs/model.pth", "runs/model.pt", "runs/last.ckpt", "runs/pytorch_model.bin"),
        *("a/b.git", "a--b/c", "a/.hidden", "-a/b", "a/b.", "a/" + "b" * 97, "https://huggingface.co/a/b", "a/b@v 1"),
        "a\\b/c",
    ],
)
def test_everything_else_is_a_path(text: str) -> None:
    assert HubModel.parse(text) is None
