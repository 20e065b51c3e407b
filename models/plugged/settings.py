"""Settings of plugged attention for the calls within a `with`, and what these calls report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Final

from torch import Tensor

from models.attention.strategy import AttentionStrategy
from models.attention_config import ATTENTION_OPTIONS, AttentionConfig, AttentionMode

PLUGGABLE: Final[tuple[AttentionMode, ...]] = ("exact", "act", "kmeans", "tangent")
"""Modes that a layer's attention can take by itself."""


@dataclass(slots=True)
class AttentionRun:
    """What plugged layers did within `attention_settings`.

    `cluster_counts` has an int64 [B, H] for each attended encoder layer, in call order; `tokens` has the number of
    tokens that the last of them attended for each of its B images, without padding. Both stay empty where attention
    was exact. `strategy`, set before the model is called, attends instead of the one that the settings describe, also
    where they are exact.
    """

    cluster_counts: list[Tensor] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    strategy: AttentionStrategy | None = None

    def record(self, counts: Tensor | None, tokens: list[int]) -> None:
        """Add a layer: counts int64 [B, H] and tokens of B images. A layer without counts clustered nothing."""
        if counts is not None:
            self.cluster_counts.append(counts)
            self.tokens = tokens


@dataclass(frozen=True, slots=True)
class ActiveSettings:
    """Settings of the surrounding `with`: all of them, or options that change a module's own."""

    run: AttentionRun
    attention: AttentionConfig | None
    options: Mapping[str, Any]

    def over(self, own: AttentionConfig) -> AttentionConfig:
        """The settings of a module whose own are `own`. Raises ValueError for an option that its mode lacks."""
        if self.attention is not None:
            return self.attention
        known = ATTENTION_OPTIONS[own.mode]
        for name in self.options:
            if name not in known:
                raise ValueError(f"{name!r} is not an option of {own.mode}; its options: {', '.join(known) or 'none'}")
        return replace(own, **self.options)


_ACTIVE: ContextVar[ActiveSettings | None] = ContextVar("attention_settings", default=None)


@contextmanager
def attention_settings(attention: AttentionConfig | str | None = None, **options: Any) -> Iterator[AttentionRun]:
    """Override the settings of plugged attention for calls within the `with`; yields what they report.

    Either `attention`, whose text form `AttentionConfig.parse` reads: mode and all options, `exact` for attention as
    it was before plugging; or `options` of the mode that the model already has, such as C=32. Nested, the inner one
    counts. Threads and tasks do not see each other's. Raises ValueError for settings that do not exist.
    """
    if attention is not None and options:
        raise ValueError(f"give either settings or options, not both: {attention} and {', '.join(options)}")
    known = sorted({name for mode in PLUGGABLE for name in ATTENTION_OPTIONS[mode]})
    for name in options:
        if name not in known:
            raise ValueError(f"{name!r} is not an option of attention; the options: {', '.join(known)}")
    run = AttentionRun()
    token = _ACTIVE.set(ActiveSettings(run, read_attention(attention) if attention is not None else None, options))
    try:
        yield run
    finally:
        _ACTIVE.reset(token)


def read_attention(attention: AttentionConfig | str) -> AttentionConfig:
    """Settings as they are or from their text form.

    Raises ValueError for others, and for token merging: layers get the tokens that there are.
    """
    read = AttentionConfig.parse(attention) if isinstance(attention, str) else attention
    if read.mode not in PLUGGABLE:
        raise ValueError(f"{read} cannot be plugged in: it merges the tokens of a whole encoder, not of a layer")
    return read


def settings_here(own: AttentionConfig) -> tuple[AttentionConfig, AttentionRun | None]:
    """The settings of a module whose own are `own`, and where to report. Raises ValueError for a foreign option."""
    active = _ACTIVE.get()
    return (own, None) if active is None else (active.over(own), active.run)
