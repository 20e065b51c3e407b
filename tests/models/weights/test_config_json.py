import json
from dataclasses import fields, replace

import pytest

from models.attention_config import AttentionConfig
from models.config import RESNET101_DC5, BoxRefinementConfig, DetrConfig, VouchedAttention
from models.named_models import named_config, pages_small
from models.resizing import Resizing
from models.weights.config_json import config_from_json, config_to_json

NAMES = ["pages-small", "pages-large", "detr-r50", "detr-r50-dc5", "detr-r101", "detr-r101-dc5"]


def changed(**changes: object) -> str:
    return json.dumps({**json.loads(config_to_json(pages_small())), **changes})


@pytest.mark.parametrize("name", NAMES)
def test_a_written_configuration_is_read(name: str) -> None:
    config = named_config(name)
    assert config_from_json(config_to_json(config)) == config


def test_every_field_survives() -> None:
    config = DetrConfig(
        name="x",
        labels=("a", None, "ü"),
        backbone=RESNET101_DC5,
        hidden_dim=64,
        heads=2,
        encoder_layers=1,
        decoder_layers=2,
        feedforward_dim=3,
        queries=4,
        pre_norm=True,
        norm_between_decoder_layers=True,
        act_L=7,
        act_r=2.5,
        act_metric="key",
        tangent_C=9,
        merge_ratio=0.25,
        vouched=(VouchedAttention("act:L=3,r=0.5", -0.001, 0.25),),
        nms=0.4,
        box_refinement=BoxRefinementConfig(((0.5, 1.0),), 2, 3, 4, 5, 6, 0.7),
        shortest_side=5,
        longest_side=6,
        trained_sides=(4, 8),
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
        resizing=Resizing("inside", (3, 4), (5, 6)),
    )
    plain = DetrConfig("y", ("b",))
    assert not [field.name for field in fields(config) if getattr(config, field.name) == getattr(plain, field.name)]
    assert config_from_json(config_to_json(config)) == config


def test_a_field_that_a_file_lacks_takes_its_default() -> None:
    written = json.loads(config_to_json(replace(pages_small(), pre_norm=True)))
    del written["pre_norm"]
    assert config_from_json(json.dumps(written)) == pages_small()


def test_a_file_from_before_the_metric_has_the_published_one():
    written = json.loads(config_to_json(pages_small()))
    del written["act_metric"]
    assert config_from_json(json.dumps(written)).default_act == AttentionConfig.act(16, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"colour": "red"},
        {"name": 3},
        {"name": None},
        {"labels": []},
        {"labels": "text"},
        {"labels": ["a", 1]},
        {"hidden_dim": "128"},
        {"hidden_dim": 128.0},
        {"hidden_dim": True},
        {"hidden_dim": 130},
        {"queries": 0},
        {"queries": -3},
        {"heads": 3},
        {"pre_norm": 1},
        {"nms": 0},
        {"nms": 1.5},
        {"resizing": {"rule": "wide"}},
        {"resizing": {"rule": "inside"}},
        {"resizing": {"rule": "sides", "size": [3, 4]}},
        {"resizing": {"rule": "exact", "size": [3, 4], "canvas": [2, 9]}},
        {"resizing": {"canvas": [2, 0]}},
        {"resizing": {"canvas": [2]}},
        {"trained_sides": [352]},
        {"trained_sides": [352, 304]},
        {"trained_sides": [0, 304]},
        {"mean": [0.1, 0.2]},
        {"mean": [0.1, 0.2, "0.3"]},
        {"mean": [0.1, 0.2, 10**400]},
        {"mean": [0.1, 0.2, float("nan")]},
        {"backbone": "resnet50"},
        {"backbone": {"block": "wide", "blocks": [1]}},
        {"backbone": {"block": ["basic"], "blocks": [1]}},
        {"backbone": {"block": "basic", "blocks": [1, 0]}},
        {"backbone": {"block": "basic"}},
        {"backbone": {"block": "basic", "blocks": [1], "depth": 3}},
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        config_from_json(changed(**changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"', "{}"])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        config_from_json(text)


def test_the_message_names_the_field() -> None:
    with pytest.raises(ValueError, match=r"config: backbone\.blocks\[1\]: Input should be a valid integer, not '2'"):
        config_from_json(changed(backbone={"block": "basic", "blocks": [1, "2"]}))
    with pytest.raises(ValueError, match=r"config: backbone: blocks \(1, 0\).* above 0"):
        config_from_json(changed(backbone={"block": "basic", "blocks": [1, 0]}))
