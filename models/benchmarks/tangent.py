"""Exact, ACT, K-means and tangent attention side by side: `python -m models.benchmarks.tangent --help`.

Queries, keys and values are those of a real encoder: a model run on rendered held-out pages of a size that makes
about N tokens, every layer by itself from exact inputs. Times are of all layers of one page, errors the mean over
layers of ‖approximate - exact‖ / ‖exact‖. Pages larger than those a model was trained on are foreign to it, but
still pages: their queries are as redundant as real ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.strategy import Attended
from models.config import AttentionConfig
from models.data.pages.held_out import held_out_pages
from models.detector import Detector, load_detector
from models.images import ImageBatch
from models.measurement.environment import run_environment
from models.measurement.timing import Timing, interleaved
from models.preprocess import PreparedImage, normalised

TOKENS = (638, 1200, 2100, 4200, 8400)
QUICK_TOKENS = (638, 2100)
CLUSTERS = (8, 16, 32, 64, 128)
ASPECT = 1.3  # height over width of a page

Layer = tuple[Tensor, Tensor, Tensor]
"""Projected, unscaled q, k, v [1, H, N, D]."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way to attend at one size. `error` and `cluster_ratio` are means over layers, `errors` by layer.

    `multiply_adds` and `time_ratio` are over exact attention's.
    """

    attention: str
    tokens: int
    cluster_ratio: float
    error: float
    errors: tuple[float, ...]
    multiply_adds: float
    time_ratio: float
    milliseconds: Timing


class Recorder:
    """Exact attention that keeps what it was given, a layer an entry."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [B, H, N, D]."""
        self.layers.append((q, k, v))
        return ExactAttention()(q, k, v)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """As exact attention."""
        return ExactAttention().multiply_adds(tokens, heads, head_dim)


def recorded_layers(detector: Detector, tokens: int) -> list[Layer]:
    """q, k, v of every encoder layer for the first held-out page, rendered so as to make about `tokens` tokens."""
    stride = detector.config.backbone.stride
    rows = round((tokens * ASPECT) ** 0.5)
    height, width = rows * stride, round(tokens / rows) * stride
    (page,) = held_out_pages(1, height, width)
    pixels = torch.from_numpy(np.asarray(page.image).transpose(2, 0, 1).copy())
    model = next(detector.detr.parameters())
    image = normalised(PreparedImage(pixels, height, width), detector.config, model.device, model.dtype)
    recorder = Recorder()
    detector.detr.encode(ImageBatch.from_images([image]), recorder)
    return recorder.layers


def rivals(clusters: Sequence[int], default_act: AttentionConfig) -> list[AttentionConfig]:
    """Exact first, then what is measured against it."""
    found = [AttentionConfig.exact(), AttentionConfig.act(32, 8.0), default_act]
    found += [AttentionConfig.act(16, r, metric="key") for r in (4.0, 2.0)]
    for C in clusters:
        found += [AttentionConfig.kmeans(C), AttentionConfig.kmeans(C, metric="key"), AttentionConfig.tangent(C)]
        found += [AttentionConfig.tangent(C, 16)] if C > 16 else []
    return list(dict.fromkeys(found))


def measure(attentions: Sequence[AttentionConfig], layers: Sequence[Layer], repeats: int) -> list[Measurement]:
    """Time all rivals in turn over all layers, and compare their outputs with those of the first, exact attention."""
    q = layers[0][0]
    calls = {str(one): partial(_attend_all, one, layers) for one in attentions}
    timings = interleaved(calls, q.device, repeats)
    exact = _attend_all(attentions[0], layers)
    found = []
    for one in attentions:
        attended = _attend_all(one, layers)
        errors = tuple(_error(some, best) for some, best in zip(attended, exact, strict=True))
        heads, tokens, head_dim = q.shape[1:]
        clusters = [tokens * heads if a.cluster_counts is None else int(a.cluster_counts.sum()) for a in attended]
        cost = mean(make_attention(one).multiply_adds(tokens, heads, head_dim, count) for count in clusters)
        timing = timings[str(one)]
        found.append(
            Measurement(
                attention=str(one),
                tokens=tokens,
                cluster_ratio=mean(clusters) / (tokens * heads),
                error=mean(errors),
                errors=errors,
                multiply_adds=cost / ExactAttention().multiply_adds(tokens, heads, head_dim),
                time_ratio=timing.median / timings[str(attentions[0])].median,
                milliseconds=timing,
            )
        )
    return found


def _attend_all(attention: AttentionConfig, layers: Sequence[Layer]) -> list[Attended]:
    attend: Callable[..., Attended] = make_attention(attention)
    return [attend(*layer) for layer in layers]


def _error(approximate: Attended, exact: Attended) -> float:
    off = approximate.values.double() - exact.values.double()
    return float(off.norm() / exact.values.double().norm())


def table(found: Sequence[Measurement]) -> Table:
    """A row a measurement."""
    shown = Table(
        "N", "attention", "C/N", "error", "multiply-adds", "milliseconds", "time", title="over exact attention's"
    )
    for one in found:
        ratios = (f"{one.cluster_ratio:.3f}", f"{one.error:.4f}", f"{one.multiply_adds:.3f}")
        shown.add_row(
            str(one.tokens), one.attention, *ratios, f"{one.milliseconds.median:.1f}", f"{one.time_ratio:.2f}"
        )
    return shown


def report(
    found: Sequence[Measurement], detector: Detector, repeats: int, before: Mapping[str, str | int]
) -> dict[str, object]:
    """Everything measured, and on what, ready for JSON; `before`, the circumstances when it began."""
    return {
        **run_environment(torch.device(detector.device)),
        "load_average_before": before["load_average"],
        "model": detector.name,
        "precision": detector.precision,
        "layers": detector.config.encoder_layers,
        "heads": detector.config.heads,
        "head_dim": detector.config.head_dim,
        "repeats": repeats,
        "measurements": [asdict(one) for one in found],
    }


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pages-small", help="name, checkpoint file or folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--tokens", type=int, nargs="+", help="numbers of encoder tokens N, about")
    parser.add_argument("--clusters", type=int, nargs="+", default=CLUSTERS)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    detector = load_detector(arguments.model, device=arguments.device, precision=arguments.precision)
    before = run_environment(torch.device(detector.device))
    repeats = 3 if arguments.quick else arguments.repeats
    attentions = rivals(arguments.clusters, detector.config.default_act)
    found: list[Measurement] = []
    with torch.inference_mode():
        for tokens in arguments.tokens or (QUICK_TOKENS if arguments.quick else TOKENS):
            found += measure(attentions, recorded_layers(detector, tokens), repeats)
    Console(width=140).print(table(found))
    if arguments.output:
        text = json.dumps(report(found, detector, repeats, before), indent=2)
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
