"""The models that have a name: those that are part of the package, and the published ones."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Final

from models.config import (
    RESNET50,
    RESNET50_DC5,
    RESNET101,
    RESNET101_DC5,
    BackboneConfig,
    BoxRefinementConfig,
    DetrConfig,
    VouchedAttention,
)

PAGE_LABELS: Final = ("text", "title", "list", "table", "figure")


def coco_labels() -> tuple[str | None, ...]:
    """The 91 class names of the published checkpoints by COCO category id; None where an id is unused."""
    text = resources.files("models.detr").joinpath("coco_categories.json").read_text(encoding="utf-8")
    names = {int(category): name for category, name in json.loads(text)["categories"].items()}
    return tuple(names.get(category) for category in range(91))


def pages_small() -> DetrConfig:
    """The embedded default: a small DETR for document pages, stride 16, heads of width 32 as in DETR."""
    return DetrConfig(
        name="pages-small",
        labels=PAGE_LABELS,
        backbone=BackboneConfig("basic", (2, 2, 2), width=32),
        hidden_dim=128,
        heads=4,
        decoder_layers=3,
        feedforward_dim=512,
        queries=80,
        act_L=16,
        act_r=1.0,
        tangent_C=16,
        merge_ratio=0.25,
        vouched=(
            VouchedAttention("tangent:C=8", ap_lost=-0.0024, cluster_ratio=0.0125),
            VouchedAttention("tangent:C=16", ap_lost=-0.0016, cluster_ratio=0.0251),
            VouchedAttention("merge:ratio=0.25", ap_lost=0.0004, cluster_ratio=0.7492),
        ),
        nms=0.7,
        box_refinement=BoxRefinementConfig(),
        shortest_side=352,
        longest_side=640,
        trained_sides=(304, 416),
    )


def pages_large() -> DetrConfig:
    """The embedded model for images of twice the size, with four times as many tokens: `pages_small` doubled."""
    return replace(
        pages_small().doubled(),
        name="pages-large",
        merge_ratio=0.5,
        vouched=(
            VouchedAttention("merge:ratio=0.25", ap_lost=0.0004, cluster_ratio=0.75),
            VouchedAttention("merge:ratio=0.5", ap_lost=-0.0024, cluster_ratio=0.5),
            VouchedAttention("merge:ratio=0.5,C=16", ap_lost=0.0012, cluster_ratio=0.0064),
        ),
        trained_sides=(608, 800),
    )


EMBEDDED: Final = {"pages-small": pages_small, "pages-large": pages_large}
"""The models whose weights are part of the package, and what makes their configuration."""

PUBLISHED_SIDES: Final = (480, 800)
"""Shortest sides of the images that the published models were trained with (DETR, appendix A.4)."""


def named_config(name: str) -> DetrConfig:
    """The configuration of a model that has a name.

    Raises KeyError with the known names for any other.
    """
    published = {
        "detr-r50": RESNET50,
        "detr-r50-dc5": RESNET50_DC5,
        "detr-r101": RESNET101,
        "detr-r101-dc5": RESNET101_DC5,
    }
    if name in EMBEDDED:
        return EMBEDDED[name]()
    if name in published:
        return DetrConfig(name=name, labels=coco_labels(), backbone=published[name], trained_sides=PUBLISHED_SIDES)
    raise KeyError(f"no model is named {name!r}; there are: {', '.join((*EMBEDDED, *published))}")
