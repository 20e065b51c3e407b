from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.config import BackboneConfig, DetrConfig
from models.detr.detr import Detr
from models.named_models import PUBLISHED_SIDES, coco_labels, named_config, pages_small
from models.weights.errors import MismatchedWeights, UnsupportedModel
from models.weights.inferred_config import config_from_state_dict

PUBLISHED = ["detr-r50", "detr-r50-dc5", "detr-r101", "detr-r101-dc5"]


def state_of(config: DetrConfig) -> dict[str, Tensor]:
    """Names and shapes alone: nothing is allocated."""
    with torch.device("meta"):
        return Detr(config).state_dict()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_recognised(name: str) -> None:
    assert config_from_state_dict(state_of(named_config(name)), name) == named_config(name).untuned()


def test_small_models_are_recognised_but_for_what_leaves_no_trace() -> None:
    expected = replace(
        pages_small(),
        labels=tuple(f"class_{i}" for i in range(5)),
        shortest_side=800,
        longest_side=1333,
        trained_sides=PUBLISHED_SIDES,
        tangent_C=32,
        merge_ratio=0.5,
        nms=None,
        vouched=(),
    ).untuned()
    assert config_from_state_dict(state_of(pages_small()), "pages-small") == expected


@pytest.mark.parametrize(
    "backbone",
    [
        BackboneConfig("bottleneck", (1, 2), width=16),
        BackboneConfig("basic", (1, 1, 1, 3), width=8),
        BackboneConfig("basic", (2,), width=64),
    ],
)
@pytest.mark.parametrize("pre_norm", [False, True])
def test_odd_shapes_are_recognised(backbone: BackboneConfig, pre_norm: bool) -> None:
    config = DetrConfig("odd", coco_labels(), backbone, 64, 2, 1, 3, 48, 9, pre_norm, trained_sides=PUBLISHED_SIDES)
    assert config_from_state_dict(state_of(config), "odd") == config.untuned()


def test_dilation_is_inferred_from_the_file_name() -> None:
    state = state_of(named_config("detr-r50"))
    assert config_from_state_dict(state, "my-DETR-DC5-tuned").backbone.dilation
    assert not config_from_state_dict(state, "my-detr-tuned").backbone.dilation


def test_dilated_basic_blocks_are_not_supported() -> None:
    with pytest.raises(UnsupportedModel, match="dc5"):
        config_from_state_dict(state_of(pages_small()), "pages-dc5")


def test_a_width_of_unknown_heads_is_not_supported() -> None:
    state = state_of(replace(pages_small(), hidden_dim=72, heads=4))
    with pytest.raises(UnsupportedModel, match="number of heads"):
        config_from_state_dict(state, "odd")


@pytest.mark.parametrize("lost", ["query_embed.weight", "class_embed.weight", "backbone.0.body.conv1.weight"])
def test_a_missing_name_is_named(lost: str) -> None:
    state = state_of(pages_small())
    del state[lost]
    with pytest.raises(MismatchedWeights, match=lost):
        config_from_state_dict(state, "x")


def test_another_kind_of_model_is_refused() -> None:
    state = {key: value for key, value in state_of(pages_small()).items() if not key.startswith("backbone")}
    with pytest.raises(MismatchedWeights, match="not a DETR with a ResNet"):
        config_from_state_dict(state, "x")
