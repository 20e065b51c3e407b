"""A folder that transformers saved, loaded by transformers itself: without its pickles, and without code of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from models.config import DetrConfig, NamedBackbone
from models.detr.mask_head import MaskHead
from models.networks.foreign_families import FOREIGN_FAMILIES, ForeignFamily
from models.networks.network import CLUSTERING_MODES, ONLY_EXACT, Family
from models.networks.quiet_transformers import quiet_transformers
from models.networks.transformers_network import TransformersNetwork, map_sizes
from models.plugged import CannotPlug, plug_into
from models.weights import ForeignModel
from models.weights.errors import CorruptCheckpoint, UnsupportedModel, WeightsError
from models.weights.foreign_json import read_json
from models.weights.foreign_model import SERVED
from models.weights.mask_weights import read_mask_head
from models.weights.strict_load import check_fit
from models.weights.transformers_config import read_labels, with_labels_of_head
from models.weights.transformers_folder import read_weights
from models.weights.transformers_preprocessor import Preprocessor, read_preprocessor
from models.weights.wrappers import without_wrappers

INSTALL: Final = "pip install 'transformers>=5' 'timm>=1.0'"
SQUARE: Final = 512
"""Pixels of a side of the image whose maps tell a backbone's stride."""
SEGMENTED: Final = "detr"
"""The model type whose models for segmentation are served."""
LEARNED_CELLS: Final = 50
"""Rows and columns for which transformers' learned position encodings have a place."""


class MissingPackage(WeightsError):
    """transformers, or what it needs for this model, is not installed. The message has the line that installs it."""


def load_foreign(foreign: ForeignModel) -> TransformersNetwork:
    """Load the model of a folder for transformers to run, with our attention plugged in where it applies.

    The weights are read by our own loader, which runs no code of a pickle, and all of them have to fit. Raises
    MissingPackage, UnsupportedModel, CorruptCheckpoint, UnsafeCheckpoint or MismatchedWeights.
    """
    folder, source = foreign.folder, foreign.folder / "config.json"
    fields = read_json(source)
    kind = fields["model_type"]
    own = FOREIGN_FAMILIES[kind]
    labels = read_labels(fields.get("id2label") or {}, str(source))
    with _explained(source):
        config = _config(kind, fields, source)
        layout = own.layout(config)
        images = read_preprocessor(folder, own.images)
        weights = read_weights(folder)
        model = _model(kind, config, without_wrappers(weights, folder))
        backbone = getattr(model.model.backbone, "conv_encoder", model.model.backbone)
        detr_config = _detr_config(foreign.name, own, config, labels, images, backbone)
        mask_head = _mask_head(weights, config, backbone) if kind == SEGMENTED else None
    detr_config = with_labels_of_head(detr_config, config.num_labels, source)
    _check_sizes(detr_config, own, getattr(config, "position_embedding_type", "sine") == "learned", source)
    family = Family(kind, "transformers", *_modes(model, own), own.scoring(config), other_sizes=own.multiple == 1)
    return TransformersNetwork(model, backbone, detr_config, family, layout, mask_head)


def _mask_head(weights: dict[str, Tensor], config: Any, backbone: Any) -> MaskHead | None:
    """The mask head of a DETR for segmentation, as transformers makes it; None of a DETR for detection."""
    from transformers.activations import ACT2FN

    channels = backbone.intermediate_channel_sizes[2::-1]
    activation = ACT2FN[config.activation_function]
    return read_mask_head(weights, config.d_model, config.encoder_attention_heads, channels, activation)


@contextmanager
def _explained(source: Path) -> Iterator[None]:
    """Raise what transformers raises for a configuration as an error of ours."""
    try:
        yield
    except ImportError as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise MissingPackage(f"{source}: this model is run by transformers, which is missing or lacks a package "
                             f"({first}): {INSTALL}") from error  # fmt: skip
    except WeightsError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedModel(f"{source}: transformers cannot make this model: {first}") from error


def _config(kind: str, fields: dict[str, Any], source: Path) -> Any:
    """Read transformers' configuration, which looks nothing up elsewhere and takes no pretrained backbone."""
    from transformers import CONFIG_MAPPING

    backbone = fields.get("backbone_config") or {}
    if not isinstance(backbone, dict):
        raise CorruptCheckpoint(f"{source}: backbone_config must be an object, not {backbone!r}")
    if not backbone and fields.get("use_timm_backbone") is False and fields.get("backbone"):
        raise UnsupportedModel(
            f"{source}: its backbone {fields['backbone']!r} is described elsewhere; save it with a backbone_config"
        )
    plain = {name: value for name, value in fields.items() if name not in ("auto_map", "use_pretrained_backbone")}
    if backbone:
        plain["backbone_config"] = {
            name: False if name == "use_pretrained_backbone" else value
            for name, value in backbone.items()
            if name != "auto_map"
        }
    return CONFIG_MAPPING[kind].from_dict(plain)


def _model(kind: str, config: Any, state: dict[str, Tensor]) -> Any:
    """Make the model for detection with these weights, in float32. Raises MismatchedWeights."""
    import transformers

    made = getattr(transformers, SERVED[kind][0])
    with quiet_transformers():
        model, info = made.from_pretrained(
            None,
            config=config,
            state_dict=state,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            trust_remote_code=False,
        )
    misshapen = [f"{key} {list(given)} instead of {list(wanted)}" for key, given, wanted in info["mismatched_keys"]]
    check_fit(
        (key for key in info["missing_keys"] if not key.endswith("num_batches_tracked")),
        info["unexpected_keys"],
        misshapen,
    )
    return model


def _modes(model: Any, own: ForeignFamily) -> tuple[tuple[Any, ...], str | None]:
    """Plug our attention in; the modes that apply then, and the note on them."""
    try:
        plug_into(model.model.encoder, "tangent")  # not into the backbone, which may have an encoder of its own
    except CannotPlug as error:
        return ONLY_EXACT, own.note or str(error)
    return CLUSTERING_MODES, own.note


def _detr_config(
    name: str, own: ForeignFamily, config: Any, labels: tuple[str | None, ...], images: Preprocessor, backbone: Any
) -> DetrConfig:
    shape = own.shape(config)
    return DetrConfig(
        name=name,
        labels=labels,
        backbone=_named(config, backbone),
        hidden_dim=shape.hidden_dim,
        heads=shape.heads,
        encoder_layers=shape.layers,
        decoder_layers=config.decoder_layers,
        feedforward_dim=shape.feedforward_dim,
        queries=shape.queries,
        shortest_side=images.shortest_side,
        longest_side=images.longest_side,
        resizing=images.resizing,
        mean=images.mean,
        std=images.std,
    ).untuned()


def _named(config: Any, backbone: Any) -> NamedBackbone:
    """The backbone's name, and stride and channels of its last map."""
    kind = config.backbone_config
    name = kind.backbone if kind.model_type == "timm_backbone" else kind.model_type
    rows, _ = map_sizes(backbone)(SQUARE, SQUARE)[-1]
    return NamedBackbone(str(name), round(SQUARE / rows), backbone.intermediate_channel_sizes[-1])


def _check_sizes(config: DetrConfig, own: ForeignFamily, learned: bool, source: Path) -> None:
    """Raise UnsupportedModel where images could get a size that transformers' model fails on."""
    rule = config.resizing.rule if config.resizing else "sides"
    least, largest = config.shortest_side, config.longest_side
    if own.multiple > 1 and (rule != "exact" or least % own.multiple or largest % own.multiple):
        raise UnsupportedModel(
            f"{source}: images of such a model have to be brought to one size, whose sides divide by {own.multiple}; "
            "give its preprocessor_config.json a size of height and width"
        )
    canvas = (config.resizing and config.resizing.canvas) or ()
    cells = -(-max(largest, *canvas, 0) // config.backbone.stride)
    if learned and (rule == "none" or cells > LEARNED_CELLS):
        raise UnsupportedModel(
            f"{source}: learned position encodings are for {LEARNED_CELLS} x {LEARNED_CELLS} cells of "
            f"{config.backbone.stride} pixels, too few for images of {largest} pixels; make longest_edge smaller"
        )
