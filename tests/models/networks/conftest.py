"""Folders of small models of every family that transformers has, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

transformers = pytest.importorskip("transformers")

LABELS = ("text", "title", "list", "table", "figure")
WIDTHS = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_queries": 7,
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: i for i, label in enumerate(LABELS)},
}
SIDES = {"shortest_edge": 96, "longest_edge": 128}


def resnet(*stages: str) -> Any:
    return transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 1, 1], layer_type="basic", out_features=list(stages)
    )


def timm(name: str, **fields: Any) -> dict[str, Any]:
    pytest.importorskip("timm")
    if not fields:
        return {"backbone": name}
    return {"backbone_config": transformers.TimmBackboneConfig(backbone=name, **fields)}


def swin() -> Any:
    return transformers.SwinConfig(
        embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 4], window_size=4, out_features=["stage3"]
    )


def convnext() -> Any:
    return transformers.ConvNextConfig(
        num_stages=3, hidden_sizes=[8, 16, 32], depths=[1, 1, 1], out_features=["stage3"]
    )


def own(backbone: Any) -> dict[str, Any]:
    return {"backbone_config": backbone, "use_timm_backbone": False}


def detr(**changes: Any) -> nn.Module:
    return transformers.DetrForObjectDetection(transformers.DetrConfig(**{"d_model": 32, **WIDTHS, **changes}))


def table_transformer(**changes: Any) -> nn.Module:
    config = transformers.TableTransformerConfig(**{"d_model": 32, **WIDTHS, **changes})
    return transformers.TableTransformerForObjectDetection(config)


def conditional(**changes: Any) -> nn.Module:
    config = transformers.ConditionalDetrConfig(**{"d_model": 32, **WIDTHS, **own(resnet("stage3")), **changes})
    return transformers.ConditionalDetrForObjectDetection(config)


def dab(**changes: Any) -> nn.Module:
    config = transformers.DabDetrConfig(**{"hidden_size": 32, **WIDTHS, **own(resnet("stage3")), **changes})
    return transformers.DabDetrForObjectDetection(config)


def deformable(**changes: Any) -> nn.Module:
    fields = {"d_model": 32, **WIDTHS, **own(resnet("stage2", "stage3")), "num_feature_levels": 3, **changes}
    return transformers.DeformableDetrForObjectDetection(transformers.DeformableDetrConfig(**fields))


def rt_detr(kind: str = "RTDetr", **changes: Any) -> nn.Module:
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    fields = {
        "backbone_config": backbone,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [16, 24, 32],
        "decoder_in_channels": [32, 32, 32],
        "d_model": 32,
        "hidden_expansion": 0.5,
        **WIDTHS,
        "encoder_layers": 1,
        "num_denoising": 0,
        **changes,
    }
    return getattr(transformers, f"{kind}ForObjectDetection")(getattr(transformers, f"{kind}Config")(**fields))


def d_fine() -> nn.Module:
    backbone = transformers.HGNetV2Config(
        stem_channels=[3, 4, 8],
        hidden_sizes=[8, 16, 24, 32],
        stage_in_channels=[8, 8, 16, 24],
        stage_mid_channels=[4, 4, 8, 8],
        stage_out_channels=[8, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        out_features=["stage2", "stage3", "stage4"],
    )
    return rt_detr("DFine", backbone_config=backbone, backbone=None)


def segmentation(**changes: Any) -> nn.Module:
    heads = {"encoder_attention_heads": 8, "decoder_attention_heads": 8}  # the mask head wants multiples of 8
    fields = {"d_model": 64, **WIDTHS, **heads, **own(deep()), **changes}
    return transformers.DetrForSegmentation(transformers.DetrConfig(**fields))


def deep() -> Any:
    return transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 64],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "detr": lambda: detr(**own(resnet("stage3"))),
    "table-transformer": lambda: table_transformer(**own(resnet("stage3"))),
    "detr-learned": lambda: detr(position_embedding_type="learned", **own(resnet("stage3"))),
    "detr-swin": lambda: detr(**own(swin())),
    "detr-convnext": lambda: detr(**own(convnext())),
    "detr-timm-resnet-d": lambda: detr(**timm("resnet18d")),
    "detr-timm-group-norm": lambda: detr(**timm("resnet50_gn")),
    "detr-timm-mobilenet": lambda: detr(**timm("mobilenetv3_small_050")),
    "detr-timm-convnext": lambda: detr(**timm("convnext_atto", out_indices=[3])),
    "table-transformer-timm-resnet-d": lambda: table_transformer(**timm("resnet18d")),
    "detr-segmentation": segmentation,
    "conditional-detr": conditional,
    "detr-segmentation-learned": lambda: segmentation(position_embedding_type="learned"),
    "dab-detr": dab,
    "deformable-detr": deformable,
    "deformable-detr-two-stage": lambda: deformable(with_box_refine=True, two_stage=True, two_stage_num_proposals=7),
    "rt-detr": rt_detr,
    "rt-detr-v2": lambda: rt_detr("RTDetrV2"),
    "d-fine": d_fine,
}
"""Every kind of model that is served, by a name of ours."""

PROCESSORS = {
    "conditional": "ConditionalDetrImageProcessorPil",
    "dab": "ConditionalDetrImageProcessorPil",
    "deformable": "DeformableDetrImageProcessorPil",
    "rt": "RTDetrImageProcessorPil",
    "d": "RTDetrImageProcessorPil",
}


def processor(name: str, **fields: Any) -> Any:
    """Make the image processor of a model of `MODELS`."""
    kind = PROCESSORS.get(name.partition("-")[0], "DetrImageProcessorPil")
    size = {"height": 96, "width": 128} if kind.startswith("RT") else SIDES
    return getattr(transformers, kind)(**{"size": size, **fields})


def randomised(model: nn.Module) -> nn.Module:
    """The model with weights that let queries differ, and norms that neither begin nor end at their defaults."""
    generator = torch.Generator().manual_seed(1)
    tensors = {**dict(model.named_parameters()), **{key: one for key, one in model.named_buffers() if is_norms(key)}}
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor.numel() > 1 and "sampling_offsets" not in name:
                tensor.copy_(drawn(name, torch.randn(tensor.shape, generator=generator)))
    return model.eval()


def is_norms(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", ".weight", ".bias"))


def drawn(name: str, noise: torch.Tensor) -> torch.Tensor:
    """Values of a tensor's own scale from standard normal ones."""
    inputs = max(1, noise[0].numel())
    if name.endswith("running_var"):
        return 1 + 0.1 * noise.abs()
    if noise.dim() == 1:
        return 0.1 * noise if name.endswith(("bias", "running_mean")) else 1 + 0.1 * noise
    if "embeddings.weight" in name or "refpoint" in name:
        return noise
    gain = 2.0 if noise.dim() == 4 or any(part in name for part in ("q_proj", "k_proj", "query", "key")) else 1.0
    return gain * noise / inputs**0.5


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function of a name of `MODELS` that gives the folder of such a model, saved once."""
    folders: dict[str, Path] = {}

    def save(name: str) -> Path:
        if name not in folders:
            torch.manual_seed(0)
            folder = tmp_path_factory.mktemp(name)
            randomised(MODELS[name]()).save_pretrained(folder)
            processor(name).save_pretrained(folder)
            folders[name] = folder
        return folders[name]

    return save


@pytest.fixture(scope="session")
def images() -> list[NDArray[np.uint8]]:
    """Return smooth images of several shapes."""
    generator = np.random.default_rng(0)
    shapes = [(96, 128), (128, 96), (70, 50), (200, 240)]
    coarse = [generator.integers(0, 256, (h // 10 + 2, w // 10 + 2, 3), np.uint8) for h, w in shapes]
    return [np.kron(one, np.ones((10, 10, 1), np.uint8))[:h, :w] for one, (h, w) in zip(coarse, shapes, strict=True)]
