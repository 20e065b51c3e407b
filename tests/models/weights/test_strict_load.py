import pytest
import torch
from torch import nn

from models.config import DetrConfig
from models.detr.detr import Detr
from models.weights.errors import MismatchedWeights
from models.weights.strict_load import load_strict


@pytest.fixture
def pair(tiny_config: DetrConfig) -> tuple[Detr, Detr]:
    """Two models with different random weights."""
    torch.manual_seed(0)
    return Detr(tiny_config), Detr(tiny_config)


def test_copies_every_weight(pair: tuple[Detr, Detr]) -> None:
    source, target = pair
    load_strict(target, source.state_dict())
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_ignores_counters_of_batch_norm_on_both_sides(pair: tuple[Detr, Detr]) -> None:
    frozen, _ = pair
    training = Detr(frozen.config, nn.BatchNorm2d)
    load_strict(training, frozen.state_dict())
    load_strict(frozen, training.state_dict())


def test_mismatches_are_listed_and_nothing_is_copied(pair: tuple[Detr, Detr]) -> None:
    source, target = pair
    before = {key: value.clone() for key, value in target.state_dict().items()}
    state = dict(source.state_dict())
    del state["query_embed.weight"]
    state["extra"] = torch.zeros(1)
    state["class_embed.weight"] = torch.zeros(7, 32)
    with pytest.raises(MismatchedWeights) as caught:
        load_strict(target, state)
    assert str(caught.value) == (
        "the weights do not fit the model: 1 missing (query_embed.weight); 1 unexpected (extra); "
        "1 of another shape (class_embed.weight [7, 32] instead of [6, 32])"
    )
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_long_lists_are_shortened(pair: tuple[Detr, Detr]) -> None:
    _, target = pair
    with pytest.raises(MismatchedWeights, match=r"\d\d missing \(.* and \d\d more\)$") as caught:
        load_strict(target, {})
    assert len(str(caught.value)) < 400
