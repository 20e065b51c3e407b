"""Benchmark of exact, ACT, K-means and tangent attention: `python -m models.benchmarks.tangent --help`.

Queries, keys and values come from a model that runs on a rendered held-out page of about N tokens, with exact
attention in all layers. Times are of all layers of the page; errors are the mean over layers of
‖approximate - exact‖ / ‖exact‖. Pages larger than a model was trained on are foreign to it, but their queries are as
redundant as real ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import mean

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.layer_inputs import AttentionInputs
from models.attention.strategy import Attended
from models.attention_config import AttentionConfig
from models.benchmarks.command_line import detector_parser, load_measured
from models.data.pages.held_out import held_out_pages
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.evaluation.fidelity import relative_error
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, interleaved
from models.preprocess import PreparedImage

TOKENS = (638, 1200, 2100, 4200, 8400)
QUICK_TOKENS = (638, 2100)
CLUSTERS = (8, 16, 32, 64, 128)
ATTENTIONS = (
    *("act:L=32,r=8", "act", "act:L=16,r=4,metric=key", "act:L=16,r=2,metric=key"),
    *(f"kmeans:C={C}" for C in CLUSTERS),
    *(f"kmeans:C={C},metric=key" for C in CLUSTERS),
    *(f"tangent:C={C}" for C in CLUSTERS),
    *(f"tangent:C={C},expansion_points=16" for C in CLUSTERS if C > 16),
)
ASPECT = 1.3  # height over width of a page


@dataclass(frozen=True, slots=True)
class Measurement:
    """One attention setting at one size. `error` and `cluster_ratio` are means over layers, `errors` by layer.

    `multiply_adds` and `time_ratio` are relative to exact attention.
    """

    attention: str
    tokens: int
    cluster_ratio: float
    error: float
    errors: tuple[float, ...]
    multiply_adds: float
    time_ratio: float
    milliseconds: Timing


def page_inputs(detector: Detector, tokens: int) -> list[AttentionInputs]:
    """Return the inputs of every encoder layer for the first held-out page, rendered to make about `tokens` tokens."""
    stride = detector.config.backbone.stride
    rows = round((tokens * ASPECT) ** 0.5)
    height, width = rows * stride, round(tokens / rows) * stride
    (page,) = held_out_pages(1, height, width)
    pixels = torch.from_numpy(np.asarray(page.image).transpose(2, 0, 1).copy())
    return attention_inputs(detector, detector.encoder_tokens(PreparedImage(pixels, height, width)))


def copies(layer: AttentionInputs, images: int) -> AttentionInputs:
    """A batch of the same image several times, laid out as projections leave it."""
    q, k, v = (x.transpose(1, 2).repeat(images, 1, 1, 1).transpose(1, 2) for x in (layer.q, layer.k, layer.v))
    return AttentionInputs(q, k, v)


def measure(
    attentions: Sequence[AttentionConfig], layers: Sequence[AttentionInputs], repeats: int
) -> list[Measurement]:
    """Time exact attention and the others in turn over all layers, and compare the outputs; exact attention first."""
    first, exact = layers[0], AttentionConfig.exact()
    attentions = tuple(dict.fromkeys((exact, *attentions)))
    calls = {str(attention): partial(_attend_all, attention, layers) for attention in attentions}
    timings = interleaved(calls, first.q.device, repeats)
    shape = (first.tokens, first.heads, first.head_dim)
    reference = _attend_all(exact, layers)
    measurements = []
    for attention in attentions:
        outputs, timing = _attend_all(attention, layers), timings[str(attention)]
        errors = tuple(
            relative_error(output.values, best.values) for output, best in zip(outputs, reference, strict=True)
        )
        every, images = first.tokens * first.heads * len(first.q), len(first.q)
        clusters = [every if one.cluster_counts is None else int(one.cluster_counts.sum()) for one in outputs]
        cost = mean(make_attention(attention).multiply_adds(*shape, count // images) for count in clusters)
        measurements.append(
            Measurement(
                attention=str(attention),
                tokens=first.tokens,
                cluster_ratio=mean(clusters) / every,
                error=mean(errors),
                errors=errors,
                multiply_adds=cost / ExactAttention().multiply_adds(*shape),
                time_ratio=timing.median / timings[str(exact)].median,
                milliseconds=timing,
            )
        )
    return measurements


def _attend_all(attention: AttentionConfig, layers: Sequence[AttentionInputs]) -> list[Attended]:
    attend = make_attention(attention)
    return [attend(layer.q, layer.k, layer.v) for layer in layers]


def table(measurements: Sequence[Measurement]) -> Table:
    """One row per measurement."""
    columns = ("N", "attention", "C/N", "error", "multiply-adds", "ms", "time")
    rows = Table(*columns, title="multiply-adds and time relative to exact attention")
    for one in measurements:
        ratios = (f"{one.cluster_ratio:.3f}", f"{one.error:.4f}", f"{one.multiply_adds:.3f}")
        rows.add_row(str(one.tokens), one.attention, *ratios, f"{one.milliseconds.median:.1f}", f"{one.time_ratio:.2f}")
    return rows


def report(
    measurements: Sequence[Measurement],
    detector: Detector,
    images: int,
    repeats: int,
    before: Mapping[str, str | int],
) -> dict[str, object]:
    """All measurements and their environment, ready for JSON; `before` is the environment at the start."""
    return {
        **run_environment(torch.device(detector.device)),
        "load_average_before": before["load_average"],
        "model": detector.name,
        "precision": detector.precision,
        "layers": detector.config.encoder_layers,
        "heads": detector.config.heads,
        "head_dim": detector.config.head_dim,
        "images": images,
        "repeats": repeats,
        "measurements": [asdict(one) for one in measurements],
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = detector_parser(__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--images", type=int, default=1, help="copies of the page in a batch")
    parser.add_argument("--tokens", type=int, nargs="+", help="approximate numbers of encoder tokens N")
    parser.add_argument("--attention", nargs="+", default=ATTENTIONS, help="settings to compare with exact attention")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    detector = load_measured(arguments, arguments.precision)
    before = run_environment(torch.device(detector.device))
    repeats = 3 if arguments.quick else arguments.repeats
    attentions = [detector.config.attention(text) for text in arguments.attention]
    measurements: list[Measurement] = []
    with torch.inference_mode():
        for tokens in arguments.tokens or (QUICK_TOKENS if arguments.quick else TOKENS):
            layers = [copies(layer, arguments.images) for layer in page_inputs(detector, tokens)]
            measurements += measure(attentions, layers, repeats)
    write_results(arguments.output, report(measurements, detector, arguments.images, repeats, before))
    Console(width=140).print(table(measurements))


if __name__ == "__main__":
    main()
