"""Every family of transformers' models that can be plugged, against itself without."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from models.plugged import attention_settings, plug_into, unplug

SETTINGS = ["tangent:C=1000", "kmeans:C=1000", "act:L=32,r=1e-06"]
CLOSE = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Of the largest value: far above rounding in so few layers, far below what few clusters change."""

CHANGED = {torch.float64: 1e-3, torch.float32: 1e-2}
"""Of the largest value: what few clusters change at least."""
ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-5}
"""Of the largest value: what the same operations may differ by."""


def distance(other: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The largest difference, relative to the largest value, of the outputs of one name."""
    return max(float((other[name] - exact[name]).abs().max() / exact[name].abs().max()) for name in exact)


def without_padding(outputs: dict[str, Tensor], padded: bool) -> dict[str, Tensor]:
    """The same, of what attention returns only the first image, which has no padding."""
    return outputs | {"attended": outputs["attended"][:1]} if padded else outputs


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_cluster_for_every_query_is_exact_attention(family: Any, settings: str) -> None:
    exact = without_padding(family.run(), family.padded)
    assert tuple(plug_into(family.model, settings)) == family.attention
    with attention_settings() as run:
        outputs = without_padding(family.run(), family.padded)
    assert distance(outputs, exact) < CLOSE[exact["attended"].dtype]
    assert len(run.cluster_counts) == len(family.attention)
    for counts in run.cluster_counts:
        assert counts.dtype == torch.int64
        assert counts.tolist() == [[tokens] * counts.shape[1] for tokens in run.tokens]


def test_few_clusters_are_another_attention(family: Any) -> None:
    exact = family.run()
    plug_into(family.model, "tangent:C=3")
    with attention_settings() as run:
        outputs = family.run()
    assert distance(outputs, exact) > CHANGED[exact["attended"].dtype]
    assert len(run.cluster_counts) == len(family.attention)
    assert all((counts >= 1).all() and (counts <= 3).all() for counts in run.cluster_counts)


def test_the_decoder_stays_as_it_was(family: Any) -> None:
    if not family.decoder:
        pytest.skip("has no decoder")
    exact = family.run()
    encoder = family.model.get_submodule(family.attention[0].partition("encoder")[0] + "encoder")
    caught: list[Any] = []
    handle = encoder.register_forward_hook(lambda module, inputs, output: caught.append(output))
    family.run()
    handle.remove()
    plug_into(family.model, "tangent:C=3")
    handle = encoder.register_forward_hook(lambda module, inputs, output: caught[0])
    outputs = family.run()
    handle.remove()
    rounding = ROUNDING[exact.pop("attended").dtype]
    del outputs["attended"]
    assert distance(outputs, exact) < rounding


def test_unplugged_the_model_is_what_it_was(family: Any) -> None:
    exact, state = family.run(), copy.deepcopy(family.model.state_dict())
    classes = [type(module) for module in family.model.modules()]
    notes = [dict.fromkeys(module.__dict__) for module in family.model.modules()]
    implementation = family.model.config._attn_implementation
    plug_into(family.model, "tangent:C=3")
    plug_into(family.model, "act")
    plugged = family.model.state_dict()
    assert list(plugged) == list(state)
    assert all(torch.equal(plugged[name], state[name]) for name in state)
    family.run()
    unplug(family.model)
    assert [type(module) for module in family.model.modules()] == classes
    assert [dict.fromkeys(module.__dict__) for module in family.model.modules()] == notes
    assert family.model.config._attn_implementation == implementation
    outputs = family.run()
    assert all(torch.equal(outputs[name], exact[name]) for name in exact)


def test_exact_settings_take_plugged_attention_out_of_the_way(family: Any) -> None:
    exact = family.run()
    plug_into(family.model, "tangent:C=3")
    with attention_settings("exact") as run:
        outputs = family.run()
    assert distance(outputs, exact) < ROUNDING[exact["attended"].dtype]
    assert not run.cluster_counts
    assert not run.tokens
