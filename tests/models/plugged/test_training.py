"""Gradients through plugged attention, against exact attention and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.plugged import RecomputedElsewhere, attention_settings, plug_into
from models.plugged.padding import attend_kept

KEPT = torch.tensor([[True] * 8, [True] * 6 + [False] * 2])

pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")


@pytest.mark.parametrize("settings", ["tangent:C=3", "tangent:C=4,expansion_points=2", "kmeans:C=3", "act:L=3,r=2"])
@pytest.mark.parametrize("padding_read", [True, False])
def test_gradients_are_those_of_finite_differences(settings: str, padding_read: bool) -> None:
    """While no query changes its cluster, which a step of 1e-6 does not make it do here."""
    generator = torch.Generator().manual_seed(4)
    qkv = [torch.randn(2, 1, 8, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    attend = make_attention(AttentionConfig.parse(settings))

    def values(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_kept(attend, q, k, v, KEPT, padding_read).values

    assert torch.autograd.gradcheck(values, qkv)


def gradients(family: Any) -> dict[str, Tensor]:
    """Of a fixed function of all outputs with respect to all parameters."""
    family.model.zero_grad()
    family.model(**family.inputs).logits.sin().sum().backward()
    return {name: one.grad.clone() for name, one in family.model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("name", ["DETR", "Table Transformer", "ViT"])
@pytest.mark.parametrize("settings", ["tangent:C=1000", "kmeans:C=1000", "act:L=32,r=1e-06"])
def test_a_cluster_for_every_query_has_the_gradients_of_exact_attention(
    make_family: Callable[..., Any], name: str, settings: str
) -> None:
    family = make_family(name)
    exact = gradients(family)
    plug_into(family.model, settings)
    plugged = gradients(family)
    assert list(plugged) == list(exact)
    for parameter, gradient in exact.items():
        torch.testing.assert_close(plugged[parameter], gradient, rtol=1e-6, atol=1e-8)
    query = next(parameter for parameter in exact if "q_proj.weight" in parameter and "decoder" not in parameter)
    assert exact[query].abs().max() > 1e-4


def checkpointed(family: Any) -> None:
    """Training without dropout, which would draw other numbers."""
    for module in family.model.modules():
        for name in ("dropout", "activation_dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    family.model.train()
    family.model.gradient_checkpointing_enable()


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_recomputes_with_what_is_plugged_in(
    make_family: Callable[..., Any], reentrant: bool
) -> None:
    family = make_family("ViT")
    plug_into(family.model, "tangent:C=3")
    family.model.train()
    plain = gradients(family)
    checkpointed(family)
    family.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    family.inputs["pixel_values"].requires_grad_()
    with attention_settings() as run:
        again = gradients(family)
    assert len(run.cluster_counts) == 3
    for parameter, gradient in plain.items():
        torch.testing.assert_close(again[parameter], gradient)


def test_gradient_checkpointing_with_other_settings_is_refused(make_family: Callable[..., Any]) -> None:
    family = make_family("ViT")
    plug_into(family.model, "tangent:C=3")
    checkpointed(family)
    for settings in ("tangent:C=4", "exact"):
        with attention_settings(settings):
            loss = family.model(**family.inputs).logits.sum()
        with pytest.raises(RecomputedElsewhere, match=f"recomputes with tangent:C=3 what was computed with {settings}"):
            loss.backward()
    with attention_settings(C=4):
        family.model(**family.inputs).logits.sum().backward()


def test_a_few_steps_of_training_lower_the_loss(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR", torch.float32)
    plug_into(family.model, "tangent:C=3")
    checkpointed(family)
    optimizer = torch.optim.SGD(family.model.parameters(), lr=1e-3)
    labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.3]])} for _ in range(2)]
    losses = []
    for _ in range(4):
        loss = family.model(**family.inputs, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
