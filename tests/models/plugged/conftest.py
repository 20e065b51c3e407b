"""Small models of other libraries with random weights, sharp enough that attention shows in their outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

RESNET: dict[str, Any] = {
    "layer_type": "basic",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 8, 16],
    "depths": [1, 1, 1, 1],
}
DETR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 6,
    "num_labels": 3,
}
VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "image_size": 64,
    "patch_size": 8,
}
DETR_LAYERS = tuple(f"model.encoder.layers.{i}.self_attn" for i in range(3))


@dataclass
class Family:
    """A model in evaluation with images, and what is known of it: the names of its encoder's attention modules."""

    model: nn.Module
    inputs: dict[str, Tensor]
    attention: tuple[str, ...]
    decoder: bool = False
    padded: bool = False
    asks: bool = True
    attended: list[Tensor] = field(default_factory=list)

    def run(self) -> dict[str, Tensor]:
        """Outputs by name, and what the last attention module of the encoder returned as `attended`."""
        caught: list[Tensor] = []
        last = self.model.get_submodule(self.attention[-1])
        handle = last.register_forward_hook(lambda module, inputs, output: caught.append(output[0]))
        try:
            with torch.no_grad():
                outputs = self.model(**self.inputs)
        finally:
            handle.remove()
        names = [name for name in ("logits", "pred_boxes", "pred_masks", "last_hidden_state") if name in outputs]
        return {name: outputs[name] for name in names} | {"attended": caught[-1]}


def build(name: str, dtype: torch.dtype | None = None, **changes: Any) -> Family:
    """In float64, or in float32 what computes positions in it."""
    dtype = dtype or (torch.float32 if name == "DAB-DETR" else torch.float64)
    torch.manual_seed(0)
    family = BUILDERS[name](changes)
    sharpen(family.model)
    family.model = family.model.eval().to(dtype)
    family.inputs = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in family.inputs.items()
    }
    return family


def sharpen(model: nn.Module) -> None:
    """Weights that keep the size of what they get, and logits of attention that differ by a few units."""
    for name, weight in model.named_parameters():
        if weight.dim() > 1:
            wide = 1.8 if "q_proj" in name or "k_proj" in name or "in_proj_weight" in name else 1.0
            nn.init.normal_(weight, std=wide * weight[0].numel() ** -0.5)


def padded_pixels() -> dict[str, Tensor]:
    """Two images, the second one narrower."""
    mask = torch.ones(2, 256, 320, dtype=torch.long)
    mask[1, :, 200:] = 0
    return {"pixel_values": torch.randn(2, 3, 256, 320) * mask[:, None], "pixel_mask": mask}


def detr(kind: str, changes: dict[str, Any]) -> Family:
    stages = ["stage1", "stage2", "stage3", "stage4"] if kind.endswith("Segmentation") else ["stage4"]
    base = kind.removesuffix("ForObjectDetection").removesuffix("ForSegmentation")
    backbone = transformers.ResNetConfig(**RESNET, out_features=stages)
    fields = DETR | {"backbone_config": backbone} | changes
    if kind.endswith("Segmentation"):
        fields |= {"encoder_attention_heads": 8, "decoder_attention_heads": 8}  # d_model and they must divide by 8
    if base == "DabDetr":
        fields["hidden_size"] = fields.pop("d_model")
    model = getattr(transformers, kind)(getattr(transformers, f"{base}Config")(**fields))
    prefix = "detr." if kind.endswith("Segmentation") else ""
    asks = base in ("Detr", "ConditionalDetr")
    return Family(model, padded_pixels(), tuple(prefix + name for name in DETR_LAYERS), True, True, asks)


def rt_detr(changes: dict[str, Any]) -> Family:
    backbone = transformers.RTDetrResNetConfig(
        **RESNET | {"hidden_sizes": [8, 8, 16, 32]}, out_features=["stage2", "stage3", "stage4"]
    )
    sizes = {
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [8, 16, 32],
        "decoder_in_channels": [32] * 3,
    }
    fields = {name: value for name, value in DETR.items() if name != "encoder_layers"} | sizes
    model = transformers.RTDetrForObjectDetection(
        transformers.RTDetrConfig(backbone_config=backbone, **fields | changes)
    )
    inputs = {"pixel_values": torch.randn(2, 3, 256, 320)}
    return Family(model, inputs, ("model.encoder.aifi.0.layers.0.self_attn",), decoder=True)


def vision(kind: str, path: str, changes: dict[str, Any]) -> Family:
    base = kind.removesuffix("ForImageClassification").removesuffix("Model").removesuffix("ForObjectDetection")
    fields = dict(VIT)
    if base == "Yolos":
        fields |= {"image_size": [64, 64], "num_detection_tokens": 5}
    if base == "Dinov2":
        del fields["intermediate_size"]
    model = getattr(transformers, kind)(getattr(transformers, f"{base}Config")(**fields | changes))
    return Family(model, {"pixel_values": torch.randn(2, 3, 64, 64)}, tuple(path.format(i) for i in range(3)))


BUILDERS: dict[str, Callable[[dict[str, Any]], Family]] = {
    "DETR": lambda changes: detr("DetrForObjectDetection", changes),
    "DETR for segmentation": lambda changes: detr("DetrForSegmentation", changes),
    "Conditional DETR": lambda changes: detr("ConditionalDetrForObjectDetection", changes),
    "Table Transformer": lambda changes: detr("TableTransformerForObjectDetection", changes),
    "DAB-DETR": lambda changes: detr("DabDetrForObjectDetection", changes),
    "RT-DETR": rt_detr,
    "ViT": lambda changes: vision("ViTForImageClassification", "vit.layers.{}.attention", changes),
    "DINOv2": lambda changes: vision("Dinov2Model", "encoder.layer.{}.attention", changes),
    "YOLOS": lambda changes: vision("YolosForObjectDetection", "vit.encoder.layer.{}.attention.attention", changes),
}


@pytest.fixture(params=BUILDERS)
def family(request: pytest.FixtureRequest) -> Family:
    """Each family in turn."""
    return build(request.param)


@pytest.fixture(scope="session")
def make_family() -> Callable[..., Family]:
    """Return a function (name, dtype=None, **fields of its configuration) that makes a `Family`."""
    return build
