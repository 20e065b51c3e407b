"""Benchmark of input sizes: `python -m models.benchmarks.sizes --help`.

Every image is detected in at several sizes, and scored. A rule that detects at a small size first, and again at a
larger one where small objects or doubtful scores call for it, is scored with the same detections: it costs the small
size for every image, and the larger one for those that it repeats. It is worth having where its AP is above that of
fixed sizes of the same time. Of many rules, one gains by chance: so the best rule of one half of the images is scored
on the other half as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.attention_config import AttentionConfig
from models.benchmarks.command_line import detector_parser, load_measured
from models.data.coco import GroundTruth
from models.data.open_samples import open_samples
from models.data.samples import Sample
from models.detections import Detections
from models.detector import Detector
from models.evaluation.coco_metrics import coco_metrics
from models.evaluation.weights_digest import weights_digest
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import clock

SMALL_SIDES = (0, 4, 6, 8, 12)
DOUBTS = (None, (0.2, 0.6), (0.3, 0.7))
LEAST = (1, 2, 4, 6, 10)
SHOWN = 8
"""Rules in the table: those that gain most, and take less time than their large size for every image."""


@dataclass(frozen=True, slots=True)
class Run:
    """One image at one size: what was found, without overlapping boxes; milliseconds with resizing; tokens.

    `scale` is pixels of the resized image per pixel of the original.
    """

    detections: Detections
    milliseconds: float
    tokens: int
    scale: float


@dataclass(frozen=True, slots=True)
class Rule:
    """When to detect again: at least `least` detections that are small or doubtful.

    Small is a shorter side below `small_side` pixels of the resized image, and a score from 0.2 on; doubtful a score in
    `doubt`. `small_side` 0 and `doubt` None: none is.
    """

    small_side: int
    doubt: tuple[float, float] | None
    least: int = 1

    def again(self, run: Run) -> bool:
        """Return whether an image has to be detected in again."""
        return sum(self._calls(score, box, run.scale) for _, score, box in run.detections) >= self.least

    def _calls(self, score: float, box: tuple[float, float, float, float], scale: float) -> bool:
        shorter = min(box[2] - box[0], box[3] - box[1]) * scale
        small = score >= 0.2 and shorter < self.small_side
        return small or (self.doubt is not None and self.doubt[0] <= score < self.doubt[1])


@dataclass(frozen=True, slots=True)
class Outcome:
    """AP in 0..1 and mean milliseconds of all images; `repeated` is the share of them that the large size saw too.

    A fixed size has no `rule`, and `large` is its `small`.
    """

    small: int
    large: int
    rule: Rule | None
    ap: float
    milliseconds: float
    repeated: float

    def gain(self, fixed: Sequence[Outcome]) -> float:
        """AP above that of fixed sizes in the same time: of straight lines between those that are worth their time."""
        best, times, aps = 0.0, [], []
        for one in sorted(fixed, key=lambda one: one.milliseconds):
            if one.ap > best:
                best = one.ap
                times.append(one.milliseconds)
                aps.append(best)
        return float(self.ap - np.interp(self.milliseconds, times, aps))


def run_sizes(
    detector: Detector, samples: Iterable[Sample], sizes: Sequence[int], attention: AttentionConfig
) -> tuple[dict[int, list[Run]], list[GroundTruth]]:
    """Detect in every sample at every size; return the runs by size, and the truth. Sizes take turns at being first."""
    detectors = {size: detector.with_sizes(size) for size in sizes}
    now = clock(torch.device(detector.device))
    runs: dict[int, list[Run]] = {size: [] for size in sizes}
    truths: list[GroundTruth] = []
    for i, sample in enumerate(samples):
        first = i % len(sizes)
        for size in (*sizes[first:], *sizes[:first]):
            if i == 0:
                detectors[size].detect(sample.image, attention)  # warm-up
            start = now()
            image = detectors[size].preprocess(sample.image)
            (prediction,) = detectors[size].predict([image], attention)
            milliseconds = (now() - start) * 1e3
            found = prediction.detections.select(nms=detector.config.nms)
            scale = image.pixels.shape[1] / image.original_height
            runs[size].append(Run(found, milliseconds, prediction.attention.tokens, scale))
        truths.append(sample.truth.of_classes(detector.labels))
    return runs, truths


def outcomes(runs: dict[int, list[Run]], truths: Sequence[GroundTruth], rules: Sequence[Rule]) -> list[Outcome]:
    """Score every size, and every rule for every pair of sizes."""
    made = [_outcome(runs[size], runs[size], [False] * len(truths), truths, size, size, None) for size in runs]
    for (small, large), rule in product(combinations(sorted(runs), 2), rules):
        again = [rule.again(run) for run in runs[small]]
        made.append(_outcome(runs[small], runs[large], again, truths, small, large, rule))
    return made


def _outcome(
    firsts: Sequence[Run],
    seconds: Sequence[Run],
    again: Sequence[bool],
    truths: Sequence[GroundTruth],
    small: int,
    large: int,
    rule: Rule | None,
) -> Outcome:
    triples = list(zip(firsts, seconds, again, strict=True))
    detections = [second.detections if repeat else first.detections for first, second, repeat in triples]
    spent = sum(first.milliseconds + (second.milliseconds if repeat else 0) for first, second, repeat in triples)
    ap = coco_metrics(detections, truths).ap
    return Outcome(small, large, rule, ap, spent / len(triples), sum(again) / len(triples))


def worth_a_look(made: Sequence[Outcome]) -> list[Outcome]:
    """Return the rules that take less time than their large size for every image."""
    fixed = {one.large: one.milliseconds for one in made if one.rule is None}
    return [one for one in made if one.rule and one.milliseconds < fixed[one.large]]


def held_out_gains(runs: dict[int, list[Run]], truths: Sequence[GroundTruth], rules: Sequence[Rule]) -> list[float]:
    """Choose the rule that gains most on the even images, and return its gain on the odd ones; then the reverse."""
    halves = [({size: rows[first::2] for size, rows in runs.items()}, truths[first::2]) for first in (0, 1)]
    gains = []
    for (choosing, choosing_truths), (other, other_truths) in (halves, halves[::-1]):
        made = outcomes(choosing, choosing_truths, rules)
        fixed = [one for one in made if one.rule is None]
        best = max(worth_a_look(made), key=lambda one: one.gain(fixed))
        kept = {size: rows for size, rows in other.items() if size in (best.small, best.large)}
        on_other = outcomes(other, other_truths, [])
        (chosen,) = [one for one in outcomes(kept, other_truths, [best.rule] if best.rule else []) if one.rule]
        gains.append(chosen.gain(on_other))
    return gains


def table(fixed: Sequence[Outcome], rules: Sequence[Outcome], tokens: dict[int, float]) -> Table:
    """A row for each fixed size, and for each rule."""
    rows = Table("size", "tokens", "again where", "repeated", "AP", "ms per image", "gain")
    for one in (*fixed, *rules):
        size, where, repeated, gain = str(one.small), "", "", ""
        if one.rule is not None:
            size, where, repeated = f"{one.small}, then {one.large}", _where(one.rule), f"{one.repeated:.0%}"
            gain = f"{one.gain(fixed):+.4f}"
        rows.add_row(
            size, f"{tokens[one.large]:.0f}", where, repeated, f"{one.ap:.4f}", f"{one.milliseconds:.0f}", gain
        )
    return rows


def _where(rule: Rule) -> str:
    parts = [f"side < {rule.small_side}"] if rule.small_side else []
    parts += [f"score {rule.doubt[0]} to {rule.doubt[1]}"] if rule.doubt else []
    return f"{rule.least} of " + " or ".join(parts)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__)
    parser.add_argument("--data", default="pages:40", help="as for act-detr evaluate")
    parser.add_argument("--sizes", type=int, nargs="+", help="shortest sides; default: of the model's range")
    parser.add_argument("--attention", default="exact", help="exact, tangent:C=16, act:L=16,r=1")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = load_measured(arguments)
    least, largest = detector.config.sides
    sizes = arguments.sizes or sorted({least, detector.config.shortest_side, largest})
    attention = detector.config.attention(arguments.attention)
    samples = open_samples(arguments.data)
    runs, truths = run_sizes(detector, samples, sizes, attention)
    rules = [Rule(*values) for values in product(SMALL_SIDES, DOUBTS, LEAST) if any(values[:2])]
    made = outcomes(runs, truths, rules)
    fixed = [one for one in made if one.rule is None]
    best = sorted(worth_a_look(made), key=lambda one: -one.gain(fixed))[:SHOWN]
    held_out = held_out_gains(runs, truths, rules) if best and len(truths) > 1 else []
    tokens = {size: sum(run.tokens for run in rows) / len(rows) for size, rows in runs.items()}
    results = {
        "model": detector.name,
        "weights_sha256": weights_digest(detector),
        "data": samples.described(),
        "attention": str(attention),
        "tokens": tokens,
        "outcomes": [asdict(one) | {"gain": one.gain(fixed)} for one in made],
        "held_out_gains": held_out,
    }
    write_results(arguments.output, run_environment(torch.device(detector.device)) | results)
    console = Console(width=110)
    console.print(table(fixed, best, tokens))
    console.print("Gain, on one half of the images, of the rule that gains most on the other:", held_out)


if __name__ == "__main__":
    main()
