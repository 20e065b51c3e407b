"""Benchmark of `auto`, which chooses attention by measured times: `python -m models.benchmarks.auto --help`.

The times are measured as the service does at its start. Then the encoder runs on held-out pages of other shapes, with
every attention that `auto` may choose in alternation. The regret of a choice is the share of time that it takes more
than the fastest of them: of the encoder, and of the whole image.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.attention.auto import EXACT, AutoAttention
from models.attention.factory import make_attention, make_merging
from models.benchmarks.command_line import detector_parser, load_measured
from models.config import VouchedAttention
from models.data.pages.held_out import held_out_pages
from models.detector import Detector
from models.measurement.attention_times import measure_attention_times
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import interleaved
from models.preprocess import PreparedImage

ASPECTS = (1.0, 1.1, 1.2, 1.294, 1.414, 1.6, 1.818, 2.5, 4.0)
"""Height by width: squares, letter and A4 pages, the longest that pages-small leaves at its shortest side, strips."""
WIDTH = 612


@dataclass(frozen=True, slots=True)
class Row:
    """One image. `milliseconds` are of the encoder by settings; `image_regret` is the regret of the whole image's time.

    `always` has the encoder's regret of each settings, had they been chosen for every image.
    """

    tokens: int
    milliseconds: dict[str, float]
    chosen: str
    predicted_ratio: float
    encoder_regret: float
    image_regret: float
    always: dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """All images at one shortest side in pixels, those of few tokens first, and the times that `auto` chose by."""

    shortest_side: int
    timed_tokens: tuple[int, ...]
    timed_milliseconds: dict[str, tuple[float, ...]]
    rows: list[Row]


def measure_size(detector: Detector, pages: Sequence[NDArray[np.uint8]], repeats: int) -> Size:
    """Time attention as the service does at its start; then the encoder, with all that `auto` may choose."""
    config = detector.config
    times, _ = measure_attention_times(config, torch.device(detector.device), detector.dtype)
    auto = AutoAttention(tuple(one.attention for one in config.vouched), times)
    rows = [_row(detector, auto, detector.preprocess(page), repeats) for page in pages]
    timed = {str(attention): row for attention, row in times.milliseconds.items()}
    return Size(config.shortest_side, times.tokens, timed, sorted(rows, key=lambda row: row.tokens))


@torch.inference_mode()
def _row(detector: Detector, auto: AutoAttention, image: PreparedImage, repeats: int) -> Row:
    tokens, packed = detector.tokens(image), detector.encoder_tokens(image)
    encoder = detector.detr.transformer.encoder
    calls = {
        str(one): partial(encoder, packed, make_attention(one.in_layers), make_merging(one))
        for one in (EXACT, *auto.vouched)
    }
    whole = partial(detector.predict, [image], EXACT, [0.5])
    timings = interleaved(calls | {"image": whole}, torch.device(detector.device), repeats)
    encoders = {name: timings[name].median for name in calls}
    rest = timings["image"].median - encoders[str(EXACT)]
    chosen, best = str(auto.choose(tokens).attention), min(encoders.values())
    return Row(
        tokens,
        encoders,
        chosen,
        _predicted(auto, tokens),
        encoders[chosen] / best - 1,
        (rest + encoders[chosen]) / (rest + best) - 1,
        {name: time / best - 1 for name, time in encoders.items()},
    )


def _predicted(auto: AutoAttention, tokens: int) -> float:
    """Return the least time of a vouched attention over exact attention's, by what `auto` measured."""
    if auto.times is None:
        return 1.0
    return min(auto.times.at(one, tokens) for one in auto.vouched) / auto.times.at(EXACT, tokens)


def table(rows: Sequence[Row], title: str) -> Table:
    """One row per image, and one of the largest regrets."""
    settings = list(rows[0].milliseconds)
    made = Table(
        "tokens",
        *(f"{setting}, ms" for setting in settings),
        *("`auto`", "vouched by exact, predicted", "regret, encoder", "regret, image"),
        *(f"always {setting}" for setting in settings),
        title=title,
    )
    for row in rows:
        regrets = (row.encoder_regret, row.image_regret, *row.always.values())
        times = (f"{time:.1f}" for time in row.milliseconds.values())
        cells = (*times, row.chosen, f"{row.predicted_ratio:.2f}", *(f"{regret:.1%}" for regret in regrets))
        made.add_row(str(row.tokens), *cells)
    largest = (
        max(row.encoder_regret for row in rows),
        max(row.image_regret for row in rows),
        *(max(row.always[setting] for row in rows) for setting in settings),
    )
    made.add_section()
    made.add_row("largest", *[""] * (len(settings) + 2), *(f"{regret:.1%}" for regret in largest))
    return made


def vouching(detector: Detector, settings: Sequence[str]) -> Detector:
    """Have a model vouch for settings without any evidence, for the sake of measuring."""
    if settings:
        detector.config = replace(detector.config, vouched=tuple(VouchedAttention(one, 0.0, 0.1) for one in settings))
    return detector


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__)
    parser.add_argument("--vouch", nargs="*", default=[], help="settings to choose from, instead of the model's")
    parser.add_argument("--sides", type=int, nargs="+", help="shortest sides to resize to, instead of the model's")
    parser.add_argument("--aspects", type=float, nargs="+", default=ASPECTS, help="height by width of the pages")
    parser.add_argument("--repeats", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = vouching(load_measured(arguments), arguments.vouch)
    shapes = [(round(WIDTH * aspect), WIDTH) for aspect in arguments.aspects]
    pages = [np.asarray(page.image) for shape in shapes for page in held_out_pages(1, *shape)]
    sizes = [
        measure_size(detector.with_sizes(side), pages, arguments.repeats)
        for side in arguments.sides or [detector.config.shortest_side]
    ]
    results = {"model": detector.name, "repeats": arguments.repeats, "sizes": [asdict(size) for size in sizes]}
    write_results(arguments.output, run_environment(torch.device(detector.device)) | results)
    for size in sizes:
        title = f"{detector.name}, shortest side {size.shortest_side}, CPU threads: {arguments.threads}"
        Console(width=150).print(table(size.rows, title))


if __name__ == "__main__":
    main()
