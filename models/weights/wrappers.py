"""Prefixes of wrapped models' weights: Lightning's `model.`, DataParallel's `module.`, a compiler's `_orig_mod.`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from models.weights.errors import MismatchedWeights

Value = TypeVar("Value")

QUERIES: Final = ("query_embed.weight", "model.query_position_embeddings.weight")
"""Weights that every DETR has once, under its published name or transformers' name."""


def without_wrappers(state: Mapping[str, Value], source: object) -> dict[str, Value]:
    """The weights of the one DETR in a state dict by its own names; the whole state dict where none is wrapped.

    What lies outside the wrapper, such as a loss's weights or a metric's counts, is no part of the model. Raises
    MismatchedWeights where the state dict of `source` holds several DETRs.
    """
    prefixes = sorted({key.removesuffix(name) for key in state for name in QUERIES if f".{key}".endswith(f".{name}")})
    if len(prefixes) > 1:
        raise MismatchedWeights(
            f"{source} holds several models, with names that begin with {', '.join(map(repr, prefixes))}: save the "
            "state dict of one"
        )
    prefix = prefixes[0] if prefixes else ""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
