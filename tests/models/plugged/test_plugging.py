"""What `plug_into` takes and what it refuses, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models.plugged import CannotPlug, attention_settings, plug_into, unplug

transformers = pytest.importorskip("transformers")


def sam() -> nn.Module:
    return transformers.SamModel(
        transformers.SamConfig(
            vision_config={
                "hidden_size": 16,
                "output_channels": 16,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 8,
                "global_attn_indexes": [1],
                "window_size": 2,
                "mlp_dim": 16,
                "num_pos_feats": 8,
            },
            prompt_encoder_config={"hidden_size": 16, "image_size": 32, "patch_size": 8},
            mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        )
    )


def swin() -> nn.Module:
    return transformers.SwinModel(
        transformers.SwinConfig(image_size=32, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
    )


def beit(**biases: bool) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.BeitModel(transformers.BeitConfig(**sizes, image_size=32, patch_size=8, **biases))


def deformable_detr() -> nn.Module:
    backbone = transformers.ResNetConfig(
        layer_type="basic",
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 16],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    return transformers.DeformableDetrForObjectDetection(
        transformers.DeformableDetrConfig(
            backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=3
        )
    )


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (sam, "SamModel can be clustered: its attention adds a bias for each pair of a query and a key"),
        (swin, "SwinModel can be clustered: its attention adds a bias"),
        (lambda: beit(use_relative_position_bias=True), "BeitModel can be clustered: its attention adds a bias"),
        (lambda: beit(use_shared_relative_position_bias=True), "BeitModel can be clustered: its attention adds a bias"),
        (deformable_detr, "DeformableDetr.* can be clustered: its encoder attends to a few sampled points"),
    ],
)
def test_models_whose_encoder_clusters_would_not_help_are_refused(build: Callable[[], nn.Module], reason: str) -> None:
    model = build()
    notes = [dict.fromkeys(module.__dict__) for module in model.modules()]
    with pytest.raises(CannotPlug, match=reason):
        plug_into(model, "tangent")
    unplug(model)
    assert [dict.fromkeys(module.__dict__) for module in model.modules()] == notes


def test_beit_without_a_bias_is_a_plain_vision_transformer() -> None:
    assert len(plug_into(beit(), "tangent")) == 1


def test_a_part_of_a_model_can_be_plugged_by_itself(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR")
    exact = family.run()
    assert plug_into(family.model.model.encoder.layers[1], "kmeans:C=2") == ["self_attn"]
    for settings in ({}, {"C": 2}, {"attention": "kmeans:C=2"}):
        with attention_settings(**settings) as run:
            family.run()
        assert [int(counts.max()) for counts in run.cluster_counts] == [2]
    unplug(family.model)
    assert torch.equal(family.run()["logits"], exact["logits"])


def test_plugged_again_a_model_has_the_new_settings(make_family: Callable[..., Any]) -> None:
    for name in ("DETR", "Table Transformer"):
        family = make_family(name)
        for settings, most in (("kmeans:C=2", 2), ("tangent:C=4", 4)):
            plug_into(family.model, settings)
            with attention_settings() as run:
                family.run()
            assert {int(counts.max()) for counts in run.cluster_counts} == {most}


def test_a_plugged_model_is_saved_as_if_it_were_not(make_family: Callable[..., Any], tmp_path: Any) -> None:
    family = make_family("DETR")
    exact = family.run()
    plug_into(family.model, "kmeans:C=2")
    family.model.save_pretrained(tmp_path)
    family.model = type(family.model).from_pretrained(tmp_path, dtype=torch.float64)
    with attention_settings() as run:
        assert torch.equal(family.run()["logits"], exact["logits"])
    assert run.cluster_counts == []


def test_a_transformer_as_backbone_stays_exact_beside_an_encoder_and_is_clustered_by_itself(
    make_family: Callable[..., Any],
) -> None:
    for config in (
        transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=64, out_features=["stage2"]
        ),
        transformers.SwinConfig(image_size=64, embed_dim=8, depths=[1], num_heads=[2], out_features=["stage1"]),
    ):
        family = make_family("DETR", backbone_config=config)
        family.padded = False
        family.inputs["pixel_values"] = family.inputs["pixel_values"][:, :, :112, :112]
        family.inputs["pixel_mask"] = family.inputs["pixel_mask"][:, :112, :112]
        assert tuple(plug_into(family.model, "tangent:C=3")) == family.attention
        with attention_settings() as run:
            family.run()
        assert len(run.cluster_counts) == 3
        unplug(family.model)
    family = make_family(
        "DETR", backbone_config=transformers.Dinov2Config(num_hidden_layers=1, hidden_size=16, num_attention_heads=2)
    )
    assert len(plug_into(family.model.model.backbone, "tangent:C=3")) == 1
