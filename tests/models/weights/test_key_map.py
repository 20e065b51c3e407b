import pytest
import torch

from models.weights.errors import MismatchedWeights
from models.weights.key_map import published_names


@pytest.mark.parametrize(
    ("theirs", "published"),
    [
        ("model.backbone.conv_encoder.model.conv1.weight", "backbone.0.body.conv1.weight"),
        ("model.backbone.conv_encoder.model._backbone.bn1.bias", "backbone.0.body.bn1.bias"),
        ("model.backbone.model.layer2.0.downsample.1.bias", "backbone.0.body.layer2.0.downsample.1.bias"),
        (
            "model.backbone.conv_encoder.model.embedder.embedder.normalization.running_var",
            "backbone.0.body.bn1.running_var",
        ),
        (
            "model.backbone.conv_encoder.model.encoder.stages.2.layers.1.layer.0.convolution.weight",
            "backbone.0.body.layer3.1.conv1.weight",
        ),
        (
            "model.backbone.model.encoder.stages.0.layers.0.shortcut.normalization.running_mean",
            "backbone.0.body.layer1.0.downsample.1.running_mean",
        ),
        ("model.encoder.layers.11.fc1.weight", "transformer.encoder.layers.11.linear1.weight"),
        ("model.encoder.layers.0.mlp.fc2.bias", "transformer.encoder.layers.0.linear2.bias"),
        ("model.encoder.layers.0.final_layer_norm.bias", "transformer.encoder.layers.0.norm2.bias"),
        ("model.decoder.layers.0.final_layer_norm.bias", "transformer.decoder.layers.0.norm3.bias"),
        ("model.decoder.layers.0.encoder_attn_layer_norm.bias", "transformer.decoder.layers.0.norm2.bias"),
        (
            "model.decoder.layers.0.encoder_attn.o_proj.weight",
            "transformer.decoder.layers.0.multihead_attn.out_proj.weight",
        ),
        ("model.encoder.layernorm.weight", "transformer.encoder.norm.weight"),
        ("model.decoder.layernorm.weight", "transformer.decoder.norm.weight"),
        ("class_labels_classifier.bias", "class_embed.bias"),
        ("bbox_predictor.layers.2.weight", "bbox_embed.layers.2.weight"),
        ("model.query_position_embeddings.weight", "query_embed.weight"),
        ("model.input_projection.weight", "input_proj.weight"),
        ("something.else", "something.else"),
        ("model.encoder.layers.0.unheard.weight", "model.encoder.layers.0.unheard.weight"),
        ("query_embed.weight", "query_embed.weight"),
    ],
)
def test_names(theirs: str, published: str) -> None:
    assert list(published_names({theirs: torch.zeros(1)})) == [published]


def test_queries_keys_and_values_share_a_projection_in_this_order() -> None:
    parts = {
        f"model.decoder.layers.3.encoder_attn.{part}_proj.weight": torch.full((2, 2), value)
        for part, value in (("k", 2.0), ("v", 3.0), ("q", 1.0))
    }
    (item,) = published_names(parts).items()
    assert item[0] == "transformer.decoder.layers.3.multihead_attn.in_proj_weight"
    assert item[1].tolist() == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [3, 3]]


def test_a_projection_without_one_of_its_parts_is_named() -> None:
    parts = {f"model.encoder.layers.0.self_attn.{part}_proj.bias": torch.zeros(2) for part in "qv"}
    with pytest.raises(MismatchedWeights, match=r"layers\.0\.self_attn\.in_proj_bias"):
        published_names(parts)
