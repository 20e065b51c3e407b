"""Which folders our own network runs, which transformers does, and which nothing does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.networks.foreign_families import FOREIGN_FAMILIES
from models.training.starting_point import starting_point
from models.weights import ForeignModel, resolve
from models.weights.errors import UnsupportedModel
from models.weights.foreign_model import SERVED, check_served, own_config

RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [32], "depths": [1]}


def folder(path: Path, **fields: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(fields))
    return path


def test_every_family_that_is_served_is_known_to_the_engine() -> None:
    assert SERVED.keys() == FOREIGN_FAMILIES.keys()


@pytest.mark.parametrize("kind", SERVED)
def test_what_transformers_runs_is_accepted_and_told_from_ours(kind: str, tmp_path: Path) -> None:
    saved = folder(tmp_path / "model", model_type=kind, architectures=[SERVED[kind][0]], activation_function="gelu")
    check_served(saved)
    with pytest.raises(ForeignModel) as refusal:
        own_config(saved)
    assert refusal.value.folder == saved
    assert refusal.value.name == "model"


def test_what_our_network_runs_is_its_own(tmp_path: Path) -> None:
    saved = folder(tmp_path, model_type="detr", backbone_config=RESNET, use_timm_backbone=False)
    assert own_config(saved).resnet.blocks == (1,)
    check_served(saved)


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "yolos", "architectures": ["YolosForObjectDetection"]},
        {"model_type": "bert"},
        {"model_type": "detr", "architectures": ["DetrModel"]},
        {"model_type": "deformable_detr", "architectures": ["DeformableDetrModel"]},
        {},
    ],
    ids=str,
)
def test_what_nothing_runs_is_refused_with_what_is_supported(fields: dict[str, Any], tmp_path: Path) -> None:
    saved = folder(tmp_path, **fields)
    for look in (check_served, own_config, lambda path: resolve(str(path))):
        with pytest.raises(
            UnsupportedModel, match=r"supported are .*ConditionalDetrFor.*RTDetrForObjectDetection"
        ) as why:
            look(saved)
        assert not isinstance(why.value, ForeignModel)


def test_training_says_what_can_be_trained(tmp_path: Path) -> None:
    saved = folder(tmp_path, model_type="conditional_detr", architectures=["ConditionalDetrForObjectDetection"])
    with pytest.raises(ForeignModel, match=r"only act-detr's own network, DETR or Table Transformer.*can be trained"):
        starting_point(str(saved))
