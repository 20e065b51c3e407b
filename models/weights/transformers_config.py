"""`config.json` of transformers to our configuration."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

from models.config import DetrConfig
from models.weights.errors import CorruptCheckpoint, MismatchedWeights, UnsupportedModel
from models.weights.json_fields import JsonFields
from models.weights.transformers_backbone import read_backbone
from models.weights.transformers_preprocessor import read_preprocessor

PRE_NORM: Final = {"detr": False, "table-transformer": True}
ARCHITECTURES: Final = ("DetrForObjectDetection", "TableTransformerForObjectDetection")
DEFAULT_LABELS: Final = ("LABEL_0", "LABEL_1")
MOST_CLASSES: Final = 100_000
UNUSED: Final = "N/A"  # what COCO's unused ids are called there

log = logging.getLogger(__name__)


def read_transformers_config(folder: Path) -> DetrConfig:
    """Read the configuration of a saved model, which takes the folder's name.

    Raises UnsupportedModel, naming the field, for what this DETR lacks; CorruptCheckpoint for a field of a
    wrong type.
    """
    config = JsonFields.read(folder / "config.json")
    kind = config.text("model_type")
    _check_architecture(config, kind)
    images = read_preprocessor(folder)
    try:
        return DetrConfig(
            name=folder.resolve().name,
            labels=_labels(config),
            backbone=read_backbone(config),
            hidden_dim=config.count("d_model", 256),
            heads=_shared(config, "encoder_attention_heads", "decoder_attention_heads", 8),
            encoder_layers=config.count("encoder_layers", 6),
            decoder_layers=config.count("decoder_layers", 6),
            feedforward_dim=_shared(config, "encoder_ffn_dim", "decoder_ffn_dim", 2048),
            queries=config.count("num_queries", 100),
            pre_norm=PRE_NORM[kind],
            norm_between_decoder_layers=bool(config.fields.get("auxiliary_loss", False)),
            shortest_side=images.shortest_side,
            longest_side=images.longest_side,
            resizing=images.resizing,
            mean=images.mean,
            std=images.std,
        )
    except ValueError as error:
        raise UnsupportedModel(f"{config.source}: {error}") from error


def _check_architecture(config: JsonFields, kind: str) -> None:
    if kind not in PRE_NORM:
        raise UnsupportedModel(f"{config.source}: model_type = {kind!r} is not supported: {', '.join(PRE_NORM)} are")
    architectures = config.fields.get("architectures") or [ARCHITECTURES[0]]
    if not set(architectures) & set(ARCHITECTURES):
        raise UnsupportedModel(f"{config.source}: {architectures} has no detection head: {ARCHITECTURES} have")
    config.only("activation_function", "relu", "relu", "the feed-forward's activation is relu")
    config.only("position_embedding_type", "sine", "sine", "positions are encoded by sines")
    config.only("num_channels", 3, 3, "images have three colours")


def _shared(config: JsonFields, encoder: str, decoder: str, default: int) -> int:
    value = config.count(encoder, default)
    if config.count(decoder, default) != value:
        raise UnsupportedModel(f"{config.source}: {encoder} and {decoder} differ, which is not supported")
    return value


def _labels(config: JsonFields) -> tuple[str | None, ...]:
    """Names by class id, None for ids without one; transformers leaves out the two that it makes up itself."""
    names = config.inner("id2label").fields or dict(zip("01", DEFAULT_LABELS, strict=True))
    for key, name in names.items():
        if not (key.isascii() and key.isdecimal() and int(key) < MOST_CLASSES) or not isinstance(name, str):
            raise CorruptCheckpoint(
                f"{config.source}: id2label must give names to class ids, the numbers from 0 that the training data "
                f"had, but has {key!r}: {name!r}"
            )
    by_id = {int(key): name for key, name in names.items() if name != UNUSED}
    return tuple(by_id.get(i) for i in range(max(map(int, names)) + 1))


def with_labels_of_head(config: DetrConfig, classes: int, source: Path) -> DetrConfig:
    """The same with as many labels as the class head has classes.

    transformers counts the names to size a new head. So where ids have gaps, the last of them lie beyond the head: what
    they name cannot be found, and a warning says so. Raises MismatchedWeights where the head has classes past the last
    id.
    """
    labels = config.labels
    if labels == DEFAULT_LABELS:
        return replace(config, labels=tuple(f"LABEL_{i}" for i in range(classes)))
    lost = {i: name for i, name in enumerate(labels) if i >= classes and name is not None}
    if classes > len(labels) or len(lost) == sum(name is not None for name in labels):
        raise MismatchedWeights(
            f"{source}: the weights have {classes} classes, ids 0 to {classes - 1}, and id2label names ids up to "
            f"{len(labels) - 1}; give it the name of every class"
        )
    if lost:
        log.warning(
            "%s: id2label names %s, but the weights have the classes 0 to %d alone: these will not be found; train "
            "again with ids from 0 without gaps",
            source,
            ", ".join(f"{i} ({name})" for i, name in lost.items()),
            classes - 1,
        )
    return replace(config, labels=labels[:classes])
