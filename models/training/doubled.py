"""A model for images of twice the size, made from one that is trained: it starts out as good as that one.

The new model reads images of twice the sides. An entry convolution halves them as the old model's resizing did, so the
old stem and stages see what they know; its other channels are free to learn the detail that halving loses. The last
stage is dilated (DC5 of arXiv 2005.12872, section 4), so that the encoder gets four times as many tokens. Positions are
normalised to the image, and attention averages: neither encoder nor decoder needs to change for that.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from models.config import ENTRY_CHANNELS, BoxRefinementConfig, DetrConfig
from models.detr.box_refinement import BoxRefinement

COLOURS: Final = 3
HALVING: Final = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
"""The weights of Pillow's antialiased bilinear resizing to half the size."""

BODY: Final = "backbone.0.body."
REFINEMENT: Final = "box_refinement."


def doubled(config: DetrConfig, weights: dict[str, Tensor]) -> tuple[DetrConfig, dict[str, Tensor]]:
    """The configuration and weights, by published names, of the model for twice the size.

    Raises ValueError for a model that `DetrConfig.doubled` refuses.
    """
    made = config.doubled()
    entry, entry_bias = entry_convolution()
    new = {
        f"{BODY}conv0.weight": entry,
        f"{BODY}conv0.bias": entry_bias,
        f"{BODY}conv1.weight": _stem(weights[f"{BODY}conv1.weight"]),
    }
    if config.box_refinement is not None:
        new |= _refinement(config, made, weights)
    return made, weights | new


def entry_convolution() -> tuple[Tensor, Tensor]:
    """Weight [ENTRY_CHANNELS, 3, 4, 4] and bias: the halved image's colours, their negatives, then channels to learn.

    ReLU leaves the positive part of a colour in one channel and the negative part in the other.
    """
    weight = torch.empty(ENTRY_CHANNELS, COLOURS, len(HALVING), len(HALVING))
    torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")
    taps = torch.tensor(HALVING)
    halved = torch.eye(COLOURS)[:, :, None, None] * torch.outer(taps, taps)
    weight[:COLOURS], weight[COLOURS : 2 * COLOURS] = halved, -halved
    return weight, torch.zeros(ENTRY_CHANNELS)


def _stem(old: Tensor) -> Tensor:
    """The stem's weight [width, ENTRY_CHANNELS, 7, 7] on top of the entry, from that on colours [width, 3, 7, 7]."""
    new = old.new_zeros(len(old), ENTRY_CHANNELS, *old.shape[2:])
    new[:, :COLOURS], new[:, COLOURS : 2 * COLOURS] = old, -old
    return new


def _refinement(config: DetrConfig, made: DetrConfig, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the box refinement: those of the old one on the coarser maps, and a fine map that says nothing yet."""
    old, new = config.box_refinement or BoxRefinementConfig(), made.box_refinement or BoxRefinementConfig()
    fresh = {REFINEMENT + name: value.detach().clone() for name, value in BoxRefinement(made).state_dict().items()}
    kept = {key: value for key, value in weights.items() if key.startswith(REFINEMENT)}
    fine = slice(0, old.fine_channels)
    coarse = slice(old.fine_channels, new.coarse_channels)
    moved = {}
    for key in fresh:
        if key.startswith(f"{REFINEMENT}coarse."):
            level, _, kind = key.removeprefix(f"{REFINEMENT}coarse.").partition(".")
            rows, source = (fine, f"fine.{kind}") if level == "0" else (coarse, f"coarse.{int(level) - 1}.{kind}")
            moved[key] = torch.zeros_like(fresh[key])
            moved[key][rows] = kept[REFINEMENT + source]
        elif key.endswith(".first.weight"):
            moved[key] = torch.zeros_like(fresh[key])
            half = new.fine_channels + new.coarse_channels
            for number, part in enumerate(kept[key].chunk(2, 1)):  # means along the side, then maxima
                start = number * half + new.fine_channels
                moved[key][:, start : start + part.shape[1]] = part
        elif not key.startswith(f"{REFINEMENT}fine."):
            moved[key] = kept[key]
    return fresh | moved
