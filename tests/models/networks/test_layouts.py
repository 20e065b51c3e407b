"""Tokens and multiply-adds of encoders that transformers runs, against the maps and torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models import AttentionConfig, load_detector
from models.networks.layouts import CoarsestMap, LastMap, SampledPoints
from models.plugged import unplug

transformers = pytest.importorskip("transformers")

MAPS = ((20, 30), (10, 15), (5, 8))
EXACT = AttentionConfig.exact()


def test_all_positions_of_the_last_map_attend() -> None:
    assert LastMap().tokens(MAPS, (80, 120), (80, 120)) == 5 * 8
    assert CoarsestMap().tokens(MAPS, (80, 120), (80, 120)) == 5 * 8


def test_padding_does_not_attend() -> None:
    assert LastMap().tokens(MAPS, (40, 60), (80, 120)) == 3 * 4
    values = torch.arange(40.0).view(1, 40, 1)
    kept = LastMap().kept(values, MAPS, (40, 60), (80, 120))
    assert kept[0, :, 0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19]


def test_levels_are_the_last_maps_and_those_made_from_them() -> None:
    assert SampledPoints(2, 4, 8).tokens(MAPS, (80, 120), (80, 120)) == 10 * 15 + 5 * 8
    assert SampledPoints(4, 4, 8).tokens(MAPS, (80, 120), (80, 120)) == 20 * 30 + 10 * 15 + 5 * 8 + 3 * 4


@pytest.mark.parametrize("name", ["detr-learned", "dab-detr", "deformable-detr", "rt-detr"])
def test_exact_attention_costs_what_torch_counts(
    name: str, saved: Callable[[str], Path], images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(str(saved(name)), device="cpu", precision="fp32")
    encoder: Any = detector.network.module.model.encoder  # type: ignore[union-attr]
    part = encoder.aifi[-1] if name == "rt-detr" else encoder
    unplug(encoder)
    encoder.set_attn_implementation("eager")  # the counter does not know every fused kernel
    counter, forward = FlopCounterMode(display=False), part.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        with counter:
            return forward(*args, **kwargs)

    monkeypatch.setattr(part, "forward", counted)
    report = detector.detect(images[0], EXACT).attention
    products = counter.get_total_flops() / 2
    if name == "deformable-detr":  # the weighted sum of samples is no matrix product there
        products += detector.config.encoder_layers * report.tokens * 3 * 4 * detector.config.hidden_dim
    np.testing.assert_allclose(report.encoder_gflops * 1e9, products, rtol=1e-9)
