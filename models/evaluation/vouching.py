"""Which approximate attention an evaluation vouches for: what `auto` may choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Final

from models.config import VOUCHED_MODES, VouchedAttention
from models.evaluation.evaluate import EXACT, Evaluation
from models.weights import resolve, save_checkpoint

MAX_AP_LOST: Final = 0.002
"""AP in 0..1 that an attention may lose against exact attention on the same images: a fifth of a point."""


def vouched_attention(evaluations: Sequence[Evaluation]) -> tuple[VouchedAttention, ...]:
    """Return those of ACT, tangent attention and merging that lose at most `MAX_AP_LOST`, in their order.

    Raises ValueError where exact attention is not among the evaluations.
    """
    exact = next((one.metrics.ap for one in evaluations if one.attention == EXACT), None)
    if exact is None:
        raise ValueError("exact attention has to be evaluated too: the others are compared with it")
    return tuple(
        VouchedAttention(str(one.attention), round(exact - one.metrics.ap, 4), round(_attending(one), 4))
        for one in evaluations
        if one.attention.mode in VOUCHED_MODES and exact - one.metrics.ap <= MAX_AP_LOST
    )


def _attending(evaluation: Evaluation) -> float:
    """Share of the tokens that attend: prototypes, or what is left after merging."""
    return fmean(evaluation.cluster_ratio) if evaluation.cluster_ratio else evaluation.merged_ratio


def write_vouching_model(
    path: Path, model: str, vouched: tuple[VouchedAttention, ...], cache_dir: Path | None = None
) -> None:
    """Write the model of a name, file or folder to a `.safetensors` file that vouches for these settings only.

    Raises WeightsError where the model cannot be loaded, OSError where the file cannot be written.
    """
    loaded = resolve(model, cache_dir=cache_dir)
    save_checkpoint(path, loaded.state_dict, replace(loaded.config, vouched=vouched))
