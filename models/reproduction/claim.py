"""The interface of every claim, and the plan that all claims are measured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from matplotlib.figure import Figure

from models.detector import Detector

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
class Plan:
    """What to measure.

    `pages`: number of images of a trade-off; fewer for models with many tokens. `data`: a folder, instead of generated
    pages. `seeds`: hash seeds and K-means starts where these are varied. `distilled`: the same model after
    distillation. Raises ValueError without pages or seeds.
    """

    pages: int = 100
    data: str | None = None
    seeds: int = 3
    distilled: Detector | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        if min(self.pages, self.seeds) < 1:
            raise ValueError(f"a plan needs at least one page and one seed, not {self.pages} and {self.seeds}")

    def encoder_sizes(self, detector: Detector) -> tuple[int, ...]:
        """Return the shortest sides at which errors of the encoder and times are measured."""
        scales = ENCODER_SCALES[:2] if self.quick else ENCODER_SCALES
        return tuple(round(detector.config.shortest_side * scale) for scale in scales)

    def quickly(self) -> Plan:
        """Return a plan of the same claims that takes about two minutes."""
        return replace(self, pages=min(self.pages, 6), seeds=1, quick=True)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def digits(value: float | None, count: int) -> str:
    """Write a value with a fixed number of decimals, or a dash for none."""
    return "-" if value is None else f"{value:.{count}f}"
