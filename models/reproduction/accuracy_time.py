"""Accuracy against time: both embedded models, every attention, several image sizes, in one run on one machine.

    python -m models.reproduction.accuracy_time                 # measure what is missing, then draw
    python -m models.reproduction.accuracy_time --draw-only     # draw from the JSON that is there

The scores of every size are written when they are there, so that a run goes on where it was stopped. Milliseconds are
measured at the end, all settings in turns: a page a round, from its pixels to its detections.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from models.allocator import keep_freed_memory
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.data.open_samples import open_samples
from models.data.samples import Sample
from models.detections import Prediction
from models.detector import Detector, load_detector
from models.evaluation.evaluate import evaluate
from models.evaluation.weights_digest import weights_digest
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import clock_name, interleaved
from models.reproduction.accuracy_time_plot import draw
from models.reproduction.style import save, styled

SIZES: Final = {"pages-small": (304, 352, 416), "pages-large": (608, 704, 800)}
"""Shortest sides in pixels."""

Row = dict[str, Any]
Subject = tuple[str, int]
"""A model's name and a size."""


def attentions_of(config: DetrConfig) -> dict[str, AttentionConfig]:
    """Return what is compared, by the name of its line in the plot."""
    return {
        "exact": AttentionConfig.exact(),
        "tangent C = 16": AttentionConfig.tangent(16),
        "merge, half": AttentionConfig.merge(0.5),
        "merge, three quarters": AttentionConfig.merge(0.75),
        "ACT": config.default_act,
        "ACT, twice the r": replace(config.default_act, r=2 * config.act_r),
    }


def measure(
    detectors: Mapping[Subject, Detector], data: str, rounds: int, file: Path, report: Callable[[str], None]
) -> None:
    """Score every detector on the data and time it, with every attention, and write the results to a JSON file.

    Scores that the file holds of the same weights on the same data are kept. `rounds`: of pages that are timed, at
    least 2. `report` is told what begins.
    """
    samples = open_samples(data)
    document: dict[str, Any] = {
        "data": {**samples.described(), "images": len(samples)},
        "weights_sha256": {detector.name: weights_digest(detector) for detector in detectors.values()},
    }
    kept, rows, pages = _kept(file, document), list[Row](), list(samples)
    for subject, detector in detectors.items():
        own = [row for row in kept if (row["model"], row["size"]) == subject]
        if [row["attention"] for row in own] == [str(one) for one in attentions_of(detector.config).values()]:
            rows += own
            continue
        report("scoring {} at {}".format(*subject))
        rows += _scores(detector, pages)
        write_results(file, document | {"rows": rows})
    report("timing all in turns")
    rows = _timed(rows, detectors, pages, rounds)
    device = torch.device(next(iter(detectors.values())).device)
    timed = run_environment(device) | {"clock": clock_name(device), "rounds": rounds}
    write_results(file, document | {"timed": timed, "rows": rows})


def _kept(file: Path, document: Mapping[str, Any]) -> list[Row]:
    """Return the rows of an earlier run on the same data, of the models whose weights are the same."""
    if not file.exists():
        return []
    earlier = json.loads(file.read_text(encoding="utf-8"))
    if earlier["data"] != json.loads(json.dumps(document["data"])):
        return []
    same = dict(earlier["weights_sha256"].items() & document["weights_sha256"].items())
    return [row for row in earlier["rows"] if row["model"] in same]


def _scores(detector: Detector, pages: Sequence[Sample]) -> list[Row]:
    """Return a row for each attention: AP in 0..1 of detections as served, and cost."""
    config = detector.config
    attentions = attentions_of(config)
    evaluations = evaluate(detector, pages, tuple(attentions.values()), nms=config.nms)
    return [
        {
            "model": detector.name,
            "size": config.shortest_side,
            "line": line,
            "attention": str(one.attention),
            "tokens": one.tokens,
            "ap": one.metrics.ap,
            "ap50": one.metrics.ap50,
            "ap_by_class": one.metrics.by_class,
            "attention_gflops": one.gflops.attention,
            "total_gflops": one.gflops.total,
        }
        for line, one in zip(attentions, evaluations, strict=True)
    ]


def _timed(
    rows: Sequence[Row], detectors: Mapping[Subject, Detector], pages: Sequence[Sample], rounds: int
) -> list[Row]:
    """Return the rows with their milliseconds: in the same round, all detect in the same page."""
    calls = {
        str(number): _detection(detectors[row["model"], row["size"]], AttentionConfig.parse(row["attention"]), pages)
        for number, row in enumerate(rows)
    }
    device = torch.device(next(iter(detectors.values())).device)
    timings = interleaved(calls, device, rounds).values()
    return [row | {"milliseconds": asdict(timing)} for row, timing in zip(rows, timings, strict=True)]


def _detection(detector: Detector, attention: AttentionConfig, pages: Sequence[Sample]) -> Callable[[], Prediction]:
    """Return a function that detects in the next page with every call."""
    images = itertools.cycle(pages)
    return lambda: detector.detect(next(images).image, attention)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m models.reproduction.accuracy_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=Path("docs/accuracy-time.json"), help="JSON; the plot lies beside"
    )
    parser.add_argument("--data", default="pages:70", help="as for act-detr evaluate")
    parser.add_argument("--rounds", type=int, default=9, help="pages that are timed")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--draw-only", action="store_true", help="draw from the JSON that is there; run no model")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, then draw a PNG beside the JSON."""
    arguments = parse_arguments(argv)
    file, picture = arguments.output, arguments.output.with_suffix(".png")
    try:
        if not arguments.draw_only:
            keep_freed_memory()
            torch.set_num_threads(arguments.threads)
            loaded = {model: load_detector(model, device=arguments.device) for model in SIZES}
            detectors = {(model, size): loaded[model].with_sizes(size) for model in loaded for size in SIZES[model]}
            measure(detectors, arguments.data, arguments.rounds, file, Console(stderr=True).print)
        with styled():
            save(draw(json.loads(file.read_text(encoding="utf-8"))), picture)
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
    print(file, picture, sep="\n")


if __name__ == "__main__":
    main()
