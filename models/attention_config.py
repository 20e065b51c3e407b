"""Settings of the encoder's attention: frozen, typed, validated when made, and their text form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

AttentionMode = Literal["exact", "act", "kmeans", "tangent", "merge"]
Metric = Literal["query", "key"]

MAX_HASH_ROUNDS: Final = 64
MAX_CLUSTERS: Final = 4096
MAX_LLOYD_ROUNDS: Final = 100
MAX_MERGE_RATIO: Final = 0.75
METRICS: Final[tuple[Metric, ...]] = ("query", "key")
ATTENTION_OPTIONS: Final[dict[AttentionMode, tuple[str, ...]]] = {
    "exact": (),
    "act": ("L", "r", "seed", "metric"),
    "kmeans": ("C", "rounds", "seed", "metric"),
    "tangent": ("C", "expansion_points", "rounds", "metric"),
    "merge": ("ratio", "C"),
}
"""The fields of an AttentionConfig that have a meaning in each mode."""
ALWAYS_WRITTEN: Final = ("L", "r", "C", "ratio")
"""Options that the text form of settings has, even where they are the usual ones; a C of 0 clusters nothing."""
ACT_DEFAULTS: Final[dict[Metric, tuple[int, float]]] = {"query": (32, 8.0), "key": (16, 2.0)}
"""ACT's L and r by metric: as published, and for models that nobody has tuned (docs/tuning.md has the error)."""


@dataclass(frozen=True, slots=True)
class AttentionConfig:
    """Settings of the encoder's attention. Hashable: requests that share them may share a batch.

    act: `L` hash rounds (1..64) of bucket width `r` (> 0); the published settings are L in {16, 20, 24, 32} with
    r = 8, for queries already scaled by 1/sqrt(head width) (ACT, section 3.2). `seed` fixes the hash planes.

    kmeans: `C` clusters (1..4096) a head by `rounds` (0..100) of Lloyd's algorithm; `seed` fixes where it starts.

    tangent: as kmeans, but members follow the first-order change of their cluster's output, taken at
    `expansion_points` (0..C) points. 0 is kmeans; None means all C.

    merge: the share `ratio` (0..0.75) of the tokens is merged into like neighbours before the encoder, and restored
    after it (`models.attention.token_merging`). What is left attends by tangents of `C` clusters a head; 0: exactly.

    `metric` is the distance between two queries: `query` is Euclidean (the paper's), `key` the root mean square
    difference of their logits over the keys.

    Raises ValueError for values out of range.
    """

    mode: AttentionMode = "exact"
    L: int = 32
    r: float = 8.0
    seed: int = 0
    C: int = 32
    expansion_points: int | None = None
    rounds: int = 4
    metric: Metric = "query"
    ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in ATTENTION_OPTIONS:
            raise ValueError(f"attention mode must be one of {', '.join(ATTENTION_OPTIONS)}, not {self.mode!r}")
        if not 1 <= self.L <= MAX_HASH_ROUNDS:
            raise ValueError(f"L must be between 1 and {MAX_HASH_ROUNDS}, not {self.L}")
        if not 0 < self.r < float("inf"):
            raise ValueError(f"r must be a positive, finite number, not {self.r}")
        least_clusters = 0 if self.mode == "merge" else 1
        if not least_clusters <= self.C <= MAX_CLUSTERS:
            raise ValueError(f"C must be between {least_clusters} and {MAX_CLUSTERS}, not {self.C}")
        if self.expansion_points is not None and not 0 <= self.expansion_points <= self.C:
            raise ValueError(f"expansion_points must be between 0 and C = {self.C}, not {self.expansion_points}")
        if not 0 <= self.rounds <= MAX_LLOYD_ROUNDS:
            raise ValueError(f"rounds must be between 0 and {MAX_LLOYD_ROUNDS}, not {self.rounds}")
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        if not 0 <= self.ratio <= MAX_MERGE_RATIO:
            raise ValueError(f"ratio must be between 0 and {MAX_MERGE_RATIO}, not {self.ratio}")

    @classmethod
    def exact(cls) -> AttentionConfig:
        """Ordinary softmax attention."""
        return cls("exact")

    @classmethod
    def act(cls, L: int = 32, r: float = 8.0, seed: int = 0, metric: Metric = "query") -> AttentionConfig:
        """Adaptive clustering: queries grouped by L rounds of Euclidean LSH with bucket width r."""
        return cls("act", L, r, seed, metric=metric)

    @classmethod
    def kmeans(cls, C: int = 32, rounds: int = 4, seed: int = 0, metric: Metric = "query") -> AttentionConfig:
        """Queries grouped into C clusters a head by Lloyd's algorithm: the paper's baseline."""
        return cls("kmeans", seed=seed, C=C, rounds=rounds, metric=metric)

    @classmethod
    def tangent(
        cls, C: int = 32, expansion_points: int | None = None, rounds: int = 4, metric: Metric = "key"
    ) -> AttentionConfig:
        """K-means clusters whose members follow their prototype's output to first order."""
        return cls("tangent", C=C, expansion_points=expansion_points, rounds=rounds, metric=metric)

    @classmethod
    def merge(cls, ratio: float = 0.5, C: int = 0) -> AttentionConfig:
        """Like neighbours merged before the encoder; what is left attends by tangents of C clusters, or exactly."""
        return cls("merge", C=C, ratio=ratio)

    @property
    def in_layers(self) -> AttentionConfig:
        """What each layer attends by, among the tokens that it gets: with merging, tangent or exact attention."""
        if self.mode != "merge":
            return self
        return AttentionConfig.tangent(self.C) if self.C else AttentionConfig.exact()

    @classmethod
    def parse(cls, text: str) -> AttentionConfig:
        """Read `exact`, `act`, `act:L=16,r=2`, `kmeans:C=64`, ...: what `str` writes. Raises ValueError."""
        mode, options = mode_and_options(text)
        made: AttentionConfig = getattr(cls, mode)(**options)
        return made

    def with_options(self, **given: Any) -> AttentionConfig:
        """These settings with some options as a caller gives them.

        An r without a metric is the paper's, so the metric then is `query`. r is in the units of the metric: where that
        is not the metric of these settings, an L or r that is left open is of `ACT_DEFAULTS`. Raises ValueError.
        """
        if self.mode != "act":
            return replace(self, **given)
        metric: Metric = given.get("metric", "query" if "r" in given else self.metric)
        L, r = ACT_DEFAULTS.get(metric, (self.L, self.r)) if metric != self.metric else (self.L, self.r)
        return replace(self, **{"L": L, "r": r, "metric": metric} | given)

    @property
    def options(self) -> dict[str, Any]:
        """The fields that have a meaning in this mode."""
        return {name: getattr(self, name) for name in ATTENTION_OPTIONS[self.mode]}

    def __str__(self) -> str:
        plain = getattr(type(self), self.mode)()
        given = [
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self.options.items()
            if value != getattr(plain, name) or (name in ALWAYS_WRITTEN and value != 0)
        ]
        return f"{self.mode}:{','.join(given)}" if given else self.mode


def mode_and_options(text: str) -> tuple[AttentionMode, dict[str, Any]]:
    """The mode of an attention's text form, and the options that it gives. Raises ValueError."""
    mode, _, rest = text.partition(":")
    if mode not in ATTENTION_OPTIONS:
        raise ValueError(f"{text!r}: the mode must be one of {', '.join(ATTENTION_OPTIONS)}")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if name not in ATTENTION_OPTIONS[mode] or not equals or name in options:
            known = ", ".join(ATTENTION_OPTIONS[mode]) or "none"
            raise ValueError(f"{text!r}: {part!r} is not an option of {mode} given once; its options: {known}")
        try:
            options[name] = {"r": float, "ratio": float, "metric": str}.get(name, int)(value)
        except ValueError:
            raise ValueError(f"{text!r}: {value!r} is no value for {name}") from None
    return mode, options
