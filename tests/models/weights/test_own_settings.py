"""Settings that transformers has no field for survive its folders, as far as they still hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.config import DetrConfig, VouchedAttention
from models.resizing import Resizing
from models.weights.errors import CorruptCheckpoint
from models.weights.own_settings import own_settings, with_own_settings

STATE = {"a": torch.ones(2)}


@pytest.fixture
def config(tiny_config: DetrConfig) -> DetrConfig:
    return replace(
        tiny_config, act_L=17, act_r=1.5, tangent_C=5, nms=0.6, vouched=(VouchedAttention("tangent:C=5", 0.001, 0.5),)
    )


@pytest.fixture
def bare(config: DetrConfig) -> DetrConfig:
    """What transformers' own fields say."""
    plain = DetrConfig(name="bare", labels=config.labels)
    names = ("backbone", "hidden_dim", "heads", "shortest_side", "longest_side")
    return replace(plain, resizing=Resizing(), **{name: getattr(config, name) for name in names})


def test_settings_come_back(config: DetrConfig, bare: DetrConfig) -> None:
    read = with_own_settings(bare, own_settings(config, STATE), STATE, "it")
    for name in ("act_L", "act_r", "tangent_C", "nms", "vouched", "trained_sides", "resizing"):
        assert getattr(read, name) == getattr(config, name)
    assert (read.name, read.labels) == ("bare", config.labels)


def test_without_the_field_nothing_changes(bare: DetrConfig) -> None:
    assert with_own_settings(bare, None, STATE, "it") is bare


def test_nothing_vouches_for_other_weights(config: DetrConfig, bare: DetrConfig) -> None:
    read = with_own_settings(bare, own_settings(config, STATE), {"a": torch.zeros(2)}, "it")
    assert read.vouched == ()
    assert read.nms == 0.6


def test_sizes_that_were_changed_since_count(config: DetrConfig, bare: DetrConfig) -> None:
    squares = replace(bare, resizing=Resizing("exact", (64, 64)))
    assert with_own_settings(squares, own_settings(config, STATE), STATE, "it").resizing == squares.resizing


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ([], "must be an object"),
        ({"nms": 2}, "nms 2"),
        ({"act_L": "x"}, "act_L"),
        ({"trained_sides": [5]}, "trained"),
    ],
)
def test_values_that_are_none_of_ours_are_named(bare: DetrConfig, field: object, message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=f"it: act_detr.*{message}"):
        with_own_settings(bare, field, STATE, "it")
