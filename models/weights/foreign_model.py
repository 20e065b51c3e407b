"""Folders of transformers that our own network cannot run, and which of them transformers itself can."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from models.config import DetrConfig
from models.weights.errors import UnsupportedModel
from models.weights.foreign_json import ForeignJson, parsed, read_json
from models.weights.transformers_config import ARCHITECTURES, read_transformers_config

SERVED: Final = {
    "detr": ("DetrForObjectDetection", "DetrForSegmentation"),
    "table-transformer": ("TableTransformerForObjectDetection",),
    "conditional_detr": ("ConditionalDetrForObjectDetection",),
    "dab-detr": ("DabDetrForObjectDetection",),
    "deformable_detr": ("DeformableDetrForObjectDetection",),
    "rt_detr": ("RTDetrForObjectDetection",),
    "rt_detr_v2": ("RTDetrV2ForObjectDetection",),
    "d_fine": ("DFineForObjectDetection",),
}
"""Architectures by the model type of `config.json`; of those for segmentation, the boxes are served."""


class ForeignModel(UnsupportedModel):
    """A model that our own network cannot run and transformers can: `folder` holds it, `name` is what it is called.

    `commit` is that of a model of the Hugging Face hub.
    """

    def __init__(self, folder: Path, name: str, reason: str, commit: str | None = None) -> None:
        super().__init__(
            f"{reason}. Such a model can be used for detection, by transformers; but only act-detr's own network, "
            "DETR or Table Transformer with a ResNet, can be trained, vouched for and exported"
        )
        self.folder = folder
        self.name = name
        self.reason = reason
        self.commit = commit

    def named(self, name: str, commit: str | None = None) -> ForeignModel:
        """The same under another name."""
        return ForeignModel(self.folder, name, self.reason, commit)


class TypeFields(ForeignJson):
    """What of `config.json` says what kind of model it is."""

    model_type: str = ""
    architectures: Annotated[tuple[str, ...], Field(strict=False)] = ()


def own_config(folder: Path) -> DetrConfig:
    """Read the configuration of a model that our own network runs.

    Raises ForeignModel where only transformers can run it, and UnsupportedModel, naming what is supported, where
    nothing can; CorruptCheckpoint for a field of a wrong type.
    """
    try:
        return read_transformers_config(folder)
    except UnsupportedModel as reason:
        kind = _kind(folder)
        if kind is None:
            raise UnsupportedModel(f"{reason}; supported are {', '.join(_supported())}") from reason
        raise ForeignModel(folder, folder.resolve().name, str(reason)) from reason


def check_served(folder: Path) -> None:
    """Raise UnsupportedModel or CorruptCheckpoint where no network can run the model of a folder."""
    try:
        own_config(folder)
    except ForeignModel:
        return


def _kind(folder: Path) -> str | None:
    """The model type, where transformers runs it: of the types in `SERVED`, with a head that detects."""
    source = folder / "config.json"
    fields = parsed(TypeFields, read_json(source), str(source))
    served = SERVED.get(fields.model_type)
    if served is None or (fields.architectures and not set(fields.architectures) & set(served)):
        return None
    return fields.model_type


def _supported() -> list[str]:
    return sorted({*ARCHITECTURES, *(name for names in SERVED.values() for name in names)})
