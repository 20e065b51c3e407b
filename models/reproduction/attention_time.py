"""Attention time: how long the encoder's attention takes on real queries, against PyTorch's fused exact attention."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import torch
from matplotlib.figure import Figure

from models.attention.factory import make_attention
from models.attention.layer_inputs import AttentionInputs
from models.attention_config import AttentionConfig
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.images import PackedTokens
from models.measurement.timing import interleaved
from models.reproduction.claim import Measured, Plan, Progress, markdown
from models.reproduction.inputs import calibration_layers, described, encoder_tokens, images_for
from models.reproduction.style import colour, label_lines, log_axis, panels
from models.reproduction.sweep import family
from models.tuning.bucket_width import bucket_widths

TIMED_CLUSTERS: Final = (16, 32, 64)
TIMED_RATIOS: Final = (0.1, 0.5)


class AttentionTime:
    """The claim that saving multiply-adds saves time."""

    name = "attention-time"

    def settings(self, detector: Detector, plan: Plan) -> dict[str, Any]:
        """Return image, sizes and number of repeats."""
        samples = images_for(plan, detector, 1)
        return {**described(detector, samples), "sizes": plan.encoder_sizes(detector), "repeats": _repeats(plan)}

    def measure(self, detector: Detector, plan: Plan, progress: Progress) -> dict[str, Any]:
        """Time ACT, K-means and tangent attention at every size."""
        rows = []
        for index, size in enumerate(plan.encoder_sizes(detector)):
            progress(index, len(plan.encoder_sizes(detector)))
            scaled = detector.with_sizes(size)
            samples = images_for(plan, scaled, 1)
            layers = calibration_layers(scaled, samples)
            attentions = [AttentionConfig.act(16, r) for r in bucket_widths(layers, 16, TIMED_RATIOS)]
            attentions += [AttentionConfig.act(16, r, metric="key") for r in bucket_widths(layers, 16, (0.1,), "key")]
            attentions += [AttentionConfig.kmeans(32, metric="key"), *map(AttentionConfig.tangent, TIMED_CLUSTERS)]
            attentions += [AttentionConfig.tangent(64, expansion_points=16)]
            (tokens,) = encoder_tokens(scaled, samples)
            rows += attention_times(scaled, tokens, attentions, _repeats(plan))
        return {"threads": torch.get_num_threads(), "repeats": _repeats(plan), "rows": rows}

    def tables(self, measured: Measured) -> list[str]:
        """Return medians in milliseconds, and over exact attention's."""
        results = measured["results"]
        device = measured["environment"]["device"]
        cells = [
            [str(row["tokens"]), row["attention"], f"{row['milliseconds']['median']:.1f}", f"{row['ratio']:.2f}"]
            for row in results["rows"]
        ]
        heading = f"## Time of attention in all layers, threads: {results['threads']}, {device}"
        return [heading, markdown(["N", "attention", "ms, median", "of exact's"], cells)]

    def figures(self, measured: Measured) -> dict[str, Figure]:
        """Return time over that of exact attention, by N."""
        results = measured["results"]
        lines = ratios_by_line(results["rows"])
        figure, (axes,) = panels(1, 1, 7.2, 3.8)
        axes.axhline(1, color=colour("exact"), lw=0.8)
        ends = []
        for name, points in lines.items():
            shade = colour(name.split(":")[0])
            axes.plot(*zip(*points, strict=True), "o-", color=shade)
            ends.append((name, *points[-1], shade))
        log_axis(axes, "x")
        log_axis(axes, "y")
        ticks = sorted({tokens for points in lines.values() for tokens, _ in points})
        axes.set_xticks(ticks, [f"{tokens}" for tokens in ticks])
        axes.set_xlabel("tokens N")
        threads = results["threads"]
        axes.set_title(f"time of attention over fused exact attention's, {threads} thread{'s' * (threads > 1)}")
        label_lines(axes, ends)
        return {self.name: figure}


@torch.inference_mode()
def attention_times(
    detector: Detector, tokens: PackedTokens, attentions: Sequence[AttentionConfig], repeats: int
) -> list[dict[str, Any]]:
    """Time exact attention and each of `attentions` in turns, in all layers for the tokens of one image.

    `ratio` is to exact attention, of the medians.
    """
    layers = attention_inputs(detector, tokens)
    calls = {str(attention): _call(attention, layers) for attention in (AttentionConfig.exact(), *attentions)}
    timings = interleaved(calls, torch.device(detector.device), repeats)
    return [
        {
            "attention": attention,
            "tokens": layers[0].tokens,
            "milliseconds": asdict(timing),
            "ratio": timing.median / timings["exact"].median,
        }
        for attention, timing in timings.items()
    ]


def ratios_by_line(rows: Sequence[Any]) -> dict[str, list[tuple[int, float]]]:
    """Return (N, ratio) of every approximation by the name of its line.

    r differs from N to N, so that lines of ACT are named after the C/N that it was chosen for.
    """
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    count: Counter[tuple[str, int]] = Counter()
    for row in sorted(rows, key=lambda row: row["tokens"]):
        if row["attention"] == "exact":
            continue
        attention = AttentionConfig.parse(row["attention"])
        name, tokens = family(attention), row["tokens"]
        setting = f"C/N = {TIMED_RATIOS[count[name, tokens]]}" if attention.mode == "act" else f"C = {attention.C}"
        count[name, tokens] += 1
        lines[f"{name}: {setting}"].append((tokens, row["ratio"]))
    return lines


def _call(attention: AttentionConfig, layers: Sequence[AttentionInputs]) -> Callable[[], object]:
    attend = make_attention(attention)
    return lambda: [attend(layer.q, layer.k, layer.v) for layer in layers]


def _repeats(plan: Plan) -> int:
    return 3 if plan.quick else 7
