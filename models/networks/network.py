"""The face of a network, as the detector uses it: what it is, what it computes and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import torch
from torch import nn

from models.attention.layer_inputs import AttentionInputs
from models.attention_config import AttentionConfig, AttentionMode
from models.config import DetrConfig
from models.detr.detr import DetrOutput
from models.detr.mask_head import MaskHead
from models.detr.multiply_adds import Gflops
from models.images import ImageBatch
from models.postprocess import SOFTMAX, Scoring

Engine = Literal["act-detr", "transformers"]

CLUSTERING_MODES: Final[tuple[AttentionMode, ...]] = ("exact", "act", "kmeans", "tangent")
"""Modes that need nothing of a network but its attention."""
EVERY_MODE: Final[tuple[AttentionMode, ...]] = (*CLUSTERING_MODES, "merge")
ONLY_EXACT: Final[tuple[AttentionMode, ...]] = ("exact",)


class AttentionNotApplicable(ValueError):
    """The network's encoder has no attention that this mode could replace. The message says why."""


class NoMaskHead(ValueError):
    """The network gives boxes only. The message says which networks give masks."""


@dataclass(frozen=True, slots=True)
class Family:
    """What kind of network it is.

    `name` is the model type of `config.json`, of a fixed set. `modes` are the attention modes that its encoder can run.
    `note` says in a sentence why the others do not apply, or what clustering does there; None where there is nothing to
    say. `scoring`: how its logits become detections. `other_sizes`: whether it takes images of other sizes than its own
    `DetrConfig` brings them to.
    """

    name: str
    engine: Engine
    modes: tuple[AttentionMode, ...] = EVERY_MODE
    note: str | None = None
    scoring: Scoring = SOFTMAX
    other_sizes: bool = True

    @property
    def clusters(self) -> bool:
        """Whether any mode but exact attention applies."""
        return len(self.modes) > 1

    def refusal(self, mode: AttentionMode) -> str | None:
        """Say why a mode does not apply; None where it does."""
        if mode in self.modes:
            return None
        if mode == "merge" and self.clusters:
            return f"merge does not apply to this model ({self.name}): it merges tokens in act-detr's own network only"
        return f"{mode} attention does not apply to this model ({self.name}): {self.note or 'its encoder has none'}"

    def check(self, attention: AttentionConfig) -> None:
        """Raise AttentionNotApplicable for a mode that does not apply."""
        refusal = self.refusal(attention.mode)
        if refusal is not None:
            raise AttentionNotApplicable(refusal)


class Network(Protocol):
    """A network with its weights. One instance serves every thread of a CPU, and one thread of a GPU."""

    @property
    def config(self) -> DetrConfig:
        """Shapes and labels, and how images are brought to the network's size."""
        ...

    @property
    def family(self) -> Family:
        """What kind of network it is."""
        ...

    @property
    def module(self) -> nn.Module:
        """All of its weights and buffers, by name."""
        ...

    @property
    def mask_head(self) -> MaskHead | None:
        """What makes masks of the `segmentable` that `attend` gives; None where the network gives boxes only."""
        ...

    def make_ready(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move it to where it will run, float32 or bfloat16, for inference only."""
        ...

    def features(self, batch: ImageBatch, masks: bool = False) -> Any:
        """What of a batch does not depend on the attention, for `attend` to take any number of times.

        `masks`: `attend` is to give what masks are made of, too.
        """
        ...

    def attend(
        self, features: Any, attention: AttentionConfig, thresholds: Sequence[float] | None = None
    ) -> DetrOutput:
        """Compute the rest; results are in the batch's order. `thresholds`: see `Detr.decode`."""
        ...

    def layer_inputs(self, batch: ImageBatch, attention: AttentionConfig, layer: int) -> AttentionInputs:
        """What an encoder layer attends with for a batch of one image, with `attention` in those before it.

        Computes nothing after it. Raises ValueError where fewer layers attend.
        """
        ...

    def grid(self, height: int, width: int) -> tuple[int, int] | None:
        """Rows and columns in which the tokens of an image of so many pixels cover it, already resized, row by row.

        None where they do not, or cover more than the image.
        """
        ...

    def tokens(self, height: int, width: int) -> int:
        """How many tokens the encoder makes of an image of so many pixels, already resized."""
        ...

    def gflops(
        self,
        attention: AttentionConfig,
        tokens: int,
        clusters_by_layer: Sequence[int],
        refined: int | None = None,
        merged_tokens: int | None = None,
    ) -> Gflops:
        """Cost of one image; arguments as of `models.detr.multiply_adds.gflops`."""
        ...


def exact_gflops(network: Network, tokens: int, refined: int | None = None) -> Gflops:
    """Cost of one image with exact attention."""
    return network.gflops(AttentionConfig.exact(), tokens, [0] * network.config.encoder_layers, refined)
