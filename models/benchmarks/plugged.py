"""Attention plugged into models of other libraries: `python -m models.benchmarks.plugged --help`.

Each model has random weights, scaled so that logits differ as in trained models, and looks at a rendered page. The
error is ‖plugged - exact‖ / ‖exact‖ of the last encoder layer's output; times are of the whole model for one image,
all settings in turn. What trained weights lose, only their own evaluation can tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.benchmarks.command_line import benchmark_parser, prepare_process
from models.benchmarks.plugged_families import FAMILIES, SHARPNESS, Family, randomise, sharpen
from models.config import AttentionConfig
from models.evaluation.fidelity import relative_error
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, interleaved
from models.plugged import AttentionRun, CannotPlug, attention_settings, plug_into
from models.whole_file import whole_file

ATTENTIONS: Final = ("act:L=16,r=2,metric=key", "kmeans:C=32", "tangent:C=32")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting in one model.

    `cluster_ratio` is the mean C/N of layers and heads. `multiply_adds`, of the attended layers' attention, and
    `time_ratio`, of the whole model, are relative to exact attention.
    """

    attention: str
    cluster_ratio: float
    error: float
    multiply_adds: float
    time_ratio: float
    milliseconds: Timing


@dataclass(frozen=True, slots=True)
class Measured:
    """A model: tokens and layers that were attended, their sharpness (means over layers), and each setting."""

    family: str
    tokens: int
    layers: int
    heads: int
    head_dim: int
    logit_deviation: float
    entropy: float
    measurements: tuple[Measurement, ...]


def measure(name: str, family: Family, attentions: Sequence[AttentionConfig], repeats: int) -> Measured:
    """Plug into a model and measure it with each attention, exact attention first."""
    model, exact = family.model.eval().requires_grad_(False), AttentionConfig.exact()
    randomise(model)
    encoder = plug_into(model, attentions[0])
    calls = {attention: partial(_run, family, attention) for attention in (exact, *attentions)}
    sharpness = sharpen(family, encoder, calls[exact])
    results = {attention: _last_layer(model, encoder[-1], call) for attention, call in calls.items()}
    timings = interleaved({str(attention): call for attention, call in calls.items()}, torch.device("cpu"), repeats)
    run = results[attentions[0]][1]
    tokens, heads, head_dim = run.tokens[0], run.cluster_counts[0].shape[1], _head_dim(model, encoder[0])
    measurements = []
    for attention, (output, run) in results.items():
        timing = timings[str(attention)]
        clusters = [int(counts.sum()) for counts in run.cluster_counts] or [tokens * heads]
        cost = mean(make_attention(attention).multiply_adds(tokens, heads, head_dim, count) for count in clusters)
        measurements.append(
            Measurement(
                str(attention),
                mean(clusters) / (tokens * heads),
                relative_error(output, results[exact][0]),
                cost / ExactAttention().multiply_adds(tokens, heads, head_dim),
                timing.median / timings[str(exact)].median,
                timing,
            )
        )
    return Measured(
        family=name,
        tokens=tokens,
        layers=len(encoder),
        heads=heads,
        head_dim=head_dim,
        logit_deviation=mean(one.logits for one in sharpness),
        entropy=mean(one.entropy for one in sharpness),
        measurements=tuple(measurements),
    )


def _run(family: Family, attention: AttentionConfig) -> AttentionRun:
    with attention_settings(attention) as run, torch.no_grad():
        family.model(**family.inputs)
    return run


def _last_layer(model: nn.Module, attention: str, call: Callable[[], AttentionRun]) -> tuple[Tensor, AttentionRun]:
    """What a call reports, and the output of the layer, a member of a list, that the named attention is part of."""
    parts = attention.split(".")
    last = max(i for i, part in enumerate(parts) if part.isdigit())
    caught: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        caught.append(output if isinstance(output, Tensor) else output[0])

    handle = model.get_submodule(".".join(parts[: last + 1])).register_forward_hook(keep)
    try:
        run = call()
    finally:
        handle.remove()
    return caught[0], run


def _head_dim(model: nn.Module, attention: str) -> int:
    module: Any = model.get_submodule(attention)
    return int(module.head_dim)


def sam_refusal() -> str:
    """Why SAM's vision encoder, whose global blocks attend densely, cannot be clustered."""
    import transformers

    small = transformers.SamVisionConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, mlp_dim=32)
    try:
        plug_into(transformers.SamVisionModel(small), "tangent")
    except CannotPlug as refused:
        return str(refused)
    raise AssertionError("SAM's vision encoder was not refused")


def rows(measured: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row of text per model and setting, of the JSON's `models`."""
    return [
        (
            one["family"],
            str(one["tokens"]),
            str(one["layers"]),
            setting["attention"],
            f"{setting['cluster_ratio']:.2f}",
            f"{setting['error']:.3f}",
            f"{setting['multiply_adds']:.2f}",
            f"{setting['milliseconds']['median']:.0f}",
            f"{setting['time_ratio']:.2f}",
        )
        for one in measured
        for setting in one["measurements"]
    ]


COLUMNS: Final = ("model", "tokens", "layers", "attention", "C/N", "error", "multiply-adds", "ms", "time")


def table(measured: Sequence[Mapping[str, Any]]) -> Table:
    """One row per model and setting."""
    drawn = Table(*COLUMNS, title="multiply-adds of attention and time of the model relative to exact attention")
    for row in rows(measured):
        drawn.add_row(*row)
    return drawn


def markdown(measured: Sequence[Mapping[str, Any]]) -> str:
    """A row per model, of the JSON's `models`: exact attention's time, and time and error of every other setting."""
    settings = [one["attention"] for one in measured[0]["measurements"]]
    lines = [("model", "tokens", "layers", *(f"`{name}`" for name in settings)), ("---",) * (3 + len(settings))]
    for one in measured:
        exact, *others = one["measurements"]
        cells = (f"{setting['time_ratio']:.2f}; {setting['error']:.3f}" for setting in others)
        counts = (str(one["tokens"]), str(one["layers"]))
        lines.append((one["family"], *counts, f"{exact['milliseconds']['median']:.0f} ms", *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def drawn(page: str, measured: Sequence[Mapping[str, Any]]) -> str:
    """A page with the table of these results. Raises ValueError for a page that has no place for it."""
    begin, end = "<!-- table: plugged -->\n", "<!-- end -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError("the page has no place for the table plugged")
    return f"{before}{begin}\n{markdown(measured)}\n\n{end}{after}"


def report(measured: Sequence[Measured], repeats: int, before: Mapping[str, str | int]) -> dict[str, Any]:
    """All measurements and their environment, ready for JSON; `before` is the environment at the start."""
    return {
        **run_environment(torch.device("cpu")),
        "load_average_before": before["load_average"],
        "transformers": version("transformers"),
        "repeats": repeats,
        "sharpness": SHARPNESS,
        "refused": {"SAM": sam_refusal()},
        "models": [asdict(one) for one in measured],
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="models to measure")
    parser.add_argument("--attention", nargs="+", default=ATTENTIONS, help="settings to compare with exact attention")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small models and few repeats, to try the command")
    parser.add_argument("--page", type=Path, help="Markdown page whose table is drawn anew, docs/plug-in.md")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    prepare_process(arguments.threads)
    before = run_environment(torch.device("cpu"))
    attentions = [AttentionConfig.parse(text) for text in arguments.attention]
    repeats = 2 if arguments.quick else arguments.repeats
    measured = []
    for name in arguments.models:
        measured.append(measure(name, FAMILIES[name](arguments.quick), attentions, repeats))
        results = report(measured, repeats, before)
        write_results(arguments.output, results)  # after each model: all of them take a while
    if arguments.page is not None:
        page = drawn(arguments.page.read_text(encoding="utf-8"), results["models"])
        with whole_file(arguments.page) as part:
            part.write_text(page, encoding="utf-8")
    console = Console(width=140)
    console.print(table(results["models"]))
    for name, reason in results["refused"].items():
        console.print(f"{name}: {reason}")


if __name__ == "__main__":
    main()
