"""A model as transformers' DetrForObjectDetection, or as its TableTransformerForObjectDetection where norms come first.

transformers' own classes write the folder: config.json, model.safetensors and preprocessor_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from models.config import BackboneConfig, DetrConfig
from models.export.errors import CannotExport
from models.networks.quiet_transformers import quiet_transformers
from models.resizing import Resizing
from models.weights.key_map import transformers_state
from models.weights.own_settings import FIELD, own_settings
from models.weights.transformers_backbone import TIMM_RESNETS
from models.weights.transformers_config import UNUSED

OTHER_FORMATS: Final = "--format onnx and --format openvino hold it"


def check_has_form(config: DetrConfig) -> None:
    """Raise CannotExport, with the reason and what can be done, for a model that transformers has no part for."""
    backbone = config.resnet
    if config.box_refinement is not None:
        raise CannotExport(
            f"{config.name} has a box refinement, which transformers has no part for: {OTHER_FORMATS}, or pass "
            "--without-box-refinement to leave it out; boxes are then less precise"
        )
    if backbone.entry_channels:
        raise CannotExport(
            f"{config.name} is a doubled model: a convolution before its ResNet halves the image, which transformers "
            f"has no part for; {OTHER_FORMATS}"
        )
    if backbone.dilation:
        _timm_name(config)


def save_transformers_folder(folder: Path, config: DetrConfig, state: Mapping[str, Tensor]) -> None:
    """Write a model, of weights with the published names whose batch norms are not folded, into an empty folder.

    Raises CannotExport for a model that transformers has no part for; MismatchedWeights for weights of another model.
    """
    check_has_form(config)
    model = transformers_model(config, own_settings(config, state))
    model.load_state_dict(transformers_state(state, model.state_dict()))
    from transformers import DetrImageProcessor

    with quiet_transformers():
        model.save_pretrained(folder)  # type: ignore[operator]
        DetrImageProcessor(**_preprocessor(config)).save_pretrained(folder)


def load_transformers_model(folder: Path) -> nn.Module:
    """Load a folder as transformers does, ready for inference."""
    import transformers

    with quiet_transformers():
        loaded: nn.Module = transformers.AutoModelForObjectDetection.from_pretrained(folder)
    return loaded.eval()


def class_name(config: DetrConfig) -> str:
    """The class of transformers that a model is of."""
    return "TableTransformerForObjectDetection" if config.pre_norm else "DetrForObjectDetection"


def transformers_model(config: DetrConfig, settings: Mapping[str, Any]) -> nn.Module:
    """Make transformers' model of this shape, with its own initial weights; `settings` go into config.json."""
    import transformers

    kind: Any = transformers.TableTransformerConfig if config.pre_norm else transformers.DetrConfig
    names = {i: UNUSED if label is None else label for i, label in enumerate(config.labels)}
    made = kind(
        backbone_config=_backbone(config),
        use_timm_backbone=config.resnet.dilation,
        d_model=config.hidden_dim,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.feedforward_dim,
        decoder_ffn_dim=config.feedforward_dim,
        num_queries=config.queries,
        auxiliary_loss=config.norm_between_decoder_layers,
        id2label=names,
        label2id={name: i for i, name in names.items()},
        **{FIELD: dict(settings)},
    )
    model: nn.Module = getattr(transformers, class_name(config))(made)
    return model.eval()


def _backbone(config: DetrConfig) -> Any:
    """Make a configuration of transformers' own ResNet, or of timm's where the last stage is dilated."""
    import transformers

    backbone = config.resnet
    stages = range(1, len(backbone.blocks) + 1)
    if backbone.dilation:
        timm: dict[str, Any] = {
            "backbone": _timm_name(config),
            "features_only": True,
            "use_pretrained_backbone": False,
            "out_indices": list(stages),
            "output_stride": backbone.stride,
        }
        return transformers.TimmBackboneConfig(**timm)
    own: dict[str, Any] = {
        "layer_type": backbone.block,
        "embedding_size": backbone.width,
        "depths": list(backbone.blocks),
        "hidden_sizes": [replace(backbone, blocks=backbone.blocks[:stage]).channels for stage in stages],
        "out_features": [f"stage{len(backbone.blocks)}"],
    }
    return transformers.ResNetConfig(**own)


def _timm_name(config: DetrConfig) -> str:
    whole: BackboneConfig = replace(config.resnet, dilation=False)
    for name, known in TIMM_RESNETS.items():
        if known == whole:
            return name
    raise CannotExport(
        f"{config.name} has a dilated ResNet of its own shape, and transformers has dilated ones of these shapes only: "
        f"{', '.join(TIMM_RESNETS)}; {OTHER_FORMATS}"
    )


def _preprocessor(config: DetrConfig) -> dict[str, Any]:
    """What DetrImageProcessor takes, the inverse of `models.weights.transformers_preprocessor`."""
    resizing = config.resizing or Resizing()
    fields: dict[str, Any] = {"image_mean": list(config.mean), "image_std": list(config.std)}
    if resizing.canvas is not None:
        fields["pad_size"] = {"height": resizing.canvas[0], "width": resizing.canvas[1]}
    if resizing.rule == "none":
        return fields | {"do_resize": False}
    if resizing.size is None:
        return fields | {"size": {"shortest_edge": config.shortest_side, "longest_edge": config.longest_side}}
    names = ("height", "width") if resizing.rule == "exact" else ("max_height", "max_width")
    return fields | {"size": dict(zip(names, resizing.size, strict=True))}
