"""`config.json` of transformers to our configuration."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PositiveInt

from models.config import DetrConfig
from models.weights.errors import CorruptCheckpoint, MismatchedWeights, UnsupportedModel
from models.weights.foreign_json import parsed, read_json
from models.weights.transformers_backbone import BackboneFields, read_backbone
from models.weights.transformers_preprocessor import read_preprocessor

ARCHITECTURES: Final = ("DetrForObjectDetection", "TableTransformerForObjectDetection", "DetrForSegmentation")
DEFAULT_LABELS: Final = ("LABEL_0", "LABEL_1")
MAX_CLASSES: Final = 100_000
UNUSED: Final = "N/A"  # what COCO's unused ids are called there

log = logging.getLogger(__name__)


class ConfigFields(BackboneFields):
    """What is read of `config.json`, with transformers' defaults."""

    model_type: Literal["detr", "table-transformer"]
    architectures: Annotated[tuple[str, ...], Field(strict=False)] = ARCHITECTURES
    activation_function: Literal["relu"] = "relu"
    position_embedding_type: Literal["sine"] = "sine"
    num_channels: Literal[3] = 3
    d_model: PositiveInt = 256
    encoder_layers: PositiveInt = 6
    decoder_layers: PositiveInt = 6
    encoder_attention_heads: PositiveInt = 8
    decoder_attention_heads: PositiveInt = 8
    encoder_ffn_dim: PositiveInt = 2048
    decoder_ffn_dim: PositiveInt = 2048
    num_queries: PositiveInt = 100
    auxiliary_loss: bool = False
    id2label: dict[str, Any] = Field(default_factory=dict)


def read_transformers_config(folder: Path) -> DetrConfig:
    """Read the configuration of a saved model, which takes the folder's name.

    Raises UnsupportedModel, naming the field, for what this DETR lacks; CorruptCheckpoint for a field of a
    wrong type.
    """
    source = str(folder / "config.json")
    config = parsed(ConfigFields, read_json(folder / "config.json"), source)
    if config.architectures and not set(config.architectures) & set(ARCHITECTURES):
        raise UnsupportedModel(f"{source}: {list(config.architectures)} has no detection head: {ARCHITECTURES} have")
    for name in ("attention_heads", "ffn_dim"):
        if getattr(config, f"encoder_{name}") != getattr(config, f"decoder_{name}"):
            raise UnsupportedModel(f"{source}: encoder_{name} and decoder_{name} differ, which is not supported")
    images = read_preprocessor(folder)
    try:
        return DetrConfig(
            name=folder.resolve().name,
            labels=read_labels(config.id2label, source),
            backbone=read_backbone(config, source),
            hidden_dim=config.d_model,
            heads=config.encoder_attention_heads,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            feedforward_dim=config.encoder_ffn_dim,
            queries=config.num_queries,
            pre_norm=config.model_type == "table-transformer",
            norm_between_decoder_layers=config.auxiliary_loss,
            shortest_side=images.shortest_side,
            longest_side=images.longest_side,
            resizing=images.resizing,
            mean=images.mean,
            std=images.std,
        ).untuned()
    except ValueError as error:
        raise UnsupportedModel(f"{source}: {error}") from error


def read_labels(names: dict[str, Any], source: str) -> tuple[str | None, ...]:
    """Names by class id, None for ids without one; transformers leaves out the two that it makes up itself.

    Raises CorruptCheckpoint for ids that are no numbers from 0, or names that are no text.
    """
    names = names or dict(zip("01", DEFAULT_LABELS, strict=True))
    for key, name in names.items():
        if not (key.isascii() and key.isdecimal() and int(key) < MAX_CLASSES) or not isinstance(name, str):
            raise CorruptCheckpoint(
                f"{source}: id2label must give names to class ids, the numbers from 0 that the training data "
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
            "%s: id2label names %s, but the weights have only the classes 0 to %d: these will not be found; train "
            "again with ids from 0 without gaps",
            source,
            ", ".join(f"{i} ({name})" for i, name in lost.items()),
            classes - 1,
        )
    return replace(config, labels=labels[:classes])
