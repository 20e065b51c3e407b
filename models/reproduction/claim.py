"""The interface of every claim, and the plan that all claims are measured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from matplotlib.figure import Figure

from models.detector import Detector
from models.reproduction.dense_features import dense_features

MAX_SCALE: Final = 1.2
"""The largest size of the trade-off over the model's own; with a dense feature map a letter page has 3536 tokens."""
ENCODER_SCALES: Final = (1.0, 1.4, 2.0, 2.6)
"""Sizes for claims without ground truth: 638, 1240, 2508 and 4292 tokens with pages-small."""

Progress = Callable[[int, int], None]
"""Called with the number of steps done and the number of steps in all."""
Measured = Mapping[str, Any]
"""A claim's JSON: claim, model, settings, results, environment."""


class Claim(Protocol):
    """A statement about attention in a model: how it is measured, and how its results are shown.

    Tables and figures are made from the JSON only.
    """

    @property
    def name(self) -> str:
        """Name of the JSON file and of the figure."""

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return everything that would change the results, apart from the model."""

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> Any:
        """Return the results, as JSON can hold them."""

    def tables(self, measured: Measured) -> list[str]:
        """Return Markdown headings and tables; none where the figures say it all."""

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return the figures by the name of their file, without the ending."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Images with this shortest side in pixels; `dense`: with four times the tokens (see `dense_features`)."""

    shortest_side: int
    dense: bool = False

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """Read what `str` writes: 352 or 352-dense. Raises ValueError."""
        side, dash, word = text.partition("-")
        if not side.isdigit() or int(side) < 32 or (dash and word != "dense"):
            raise ValueError(f"a size is a shortest side in pixels, at least 32, or 352-dense, not {text!r}")
        return cls(int(side), bool(dash))

    def __str__(self) -> str:
        return f"{self.shortest_side}-dense" if self.dense else str(self.shortest_side)

    def applied_to(self, detector: Detector) -> Detector:
        """Return the same model for images of this size."""
        scaled = detector.with_sizes(self.shortest_side)
        return dense_features(scaled) if self.dense else scaled


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    `pages` at the model's own size `own_size`, fewer at larger ones; `data`: a folder, instead of generated pages.
    `sizes`: of the trade-off. `seeds`: hash seeds and K-means starts where these are varied. `distilled`: the same
    model after distillation. Raises ValueError without pages or seeds.
    """

    own_size: int
    pages: int = 100
    data: str | None = None
    sizes: tuple[Resolution, ...] = ()
    seeds: int = 3
    distilled: Detector | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        if min(self.pages, self.seeds) < 1:
            raise ValueError(f"a plan needs at least one page and one seed, not {self.pages} and {self.seeds}")

    @property
    def tradeoff_sizes(self) -> tuple[Resolution, ...]:
        """The sizes given, or the model's own, that with more tokens, and a larger one with more tokens."""
        own, largest = self.own_size, 32 * round(self.own_size * MAX_SCALE / 32)
        return self.sizes or (Resolution(own), Resolution(own, dense=True), Resolution(largest, dense=True))

    @property
    def encoder_sizes(self) -> tuple[int, ...]:
        """Shortest sides at which errors of the encoder and times are measured."""
        if self.quick:
            return tuple(size.shortest_side for size in self.tradeoff_sizes)
        return tuple(round(self.own_size * scale) for scale in ENCODER_SCALES)

    def quickly(self) -> Plan:
        """Return a plan of the same claims that takes about two minutes."""
        return replace(self, pages=min(self.pages, 6), sizes=self.tradeoff_sizes[:1], seeds=1, quick=True)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def digits(value: float | None, count: int) -> str:
    """Write a value with a fixed number of decimals, or a dash for none."""
    return "-" if value is None else f"{value:.{count}f}"
