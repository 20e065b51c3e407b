"""Attention plugged into models of other libraries: `python -m models.benchmarks.plugged --help`.

Each model has random weights, scaled so that logits differ as in trained models, and looks at a rendered page. The
error is ‖plugged - exact‖ / ‖exact‖ of the last encoder layer's output. Times are for one image, of the encoder and of
the whole model, all settings in turn. What trained weights lose, only their own evaluation can tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

import torch
from rich.console import Console
from torch import Tensor, nn

from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention_config import AttentionConfig
from models.benchmarks.command_line import benchmark_parser, prepare_process
from models.benchmarks.plugged_families import FAMILIES, SHARPNESS, Family, randomise, sharpen
from models.benchmarks.plugged_tables import drawn, table
from models.evaluation.fidelity import relative_error
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, clock, interleaved
from models.plugged import AttentionRun, CannotPlug, attention_settings, plug_into
from models.whole_file import whole_file

CPU: Final = torch.device("cpu")
ATTENTIONS: Final = ("act:L=16,r=2,metric=key", "kmeans:C=32", "tangent:C=32")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One setting in one model.

    `cluster_ratio` is the mean C/N of layers and heads. `multiply_adds` of attention and the ratios of times are
    relative to exact attention. `encoder_milliseconds`, a median, is from the start of the first layer that attends to
    the end of the last; `milliseconds` is of the model.
    """

    attention: str
    cluster_ratio: float
    error: float
    multiply_adds: float
    encoder_milliseconds: float
    encoder_time_ratio: float
    milliseconds: Timing
    time_ratio: float


@dataclass(slots=True)
class Watch:
    """Runs a model with one setting and keeps, of the last run, what it reported and the encoder's output [1, N, d].

    `seconds` has the encoder's time of each run.
    """

    family: Family
    layers: tuple[nn.Module, nn.Module]
    attention: AttentionConfig
    run: AttentionRun = field(default_factory=AttentionRun)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    seconds: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """Run the model once."""
        first, last = self.layers
        handles = [first.register_forward_pre_hook(self._start), last.register_forward_hook(self._stop)]
        try:
            with attention_settings(self.attention) as self.run, torch.no_grad():
                self.family.model(**self.family.inputs)
        finally:
            for handle in handles:
                handle.remove()

    def _start(self, _module: nn.Module, _inputs: object) -> None:
        self.seconds.append(-clock(CPU)())

    def _stop(self, _module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        self.seconds[-1] += clock(CPU)()
        self.output = output if isinstance(output, Tensor) else output[0]


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
    layers = _layer(model, encoder[0]), _layer(model, encoder[-1])
    watches = {str(attention): Watch(family, layers, attention) for attention in (exact, *attentions)}
    sharpness = sharpen(family, encoder, watches[str(exact)])
    timings = interleaved(watches, CPU, repeats)
    run = watches[str(attentions[0])].run
    heads, head_dim = run.cluster_counts[0].shape[1], _head_dim(model, encoder[0])
    return Measured(
        family=name,
        tokens=run.tokens[0],
        layers=len(encoder),
        heads=heads,
        head_dim=head_dim,
        logit_deviation=mean(one.logits for one in sharpness),
        entropy=mean(one.entropy for one in sharpness),
        measurements=_measurements(watches, timings, repeats, (run.tokens[0], heads, head_dim)),
    )


def _measurements(
    watches: Mapping[str, Watch], timings: Mapping[str, Timing], repeats: int, shape: tuple[int, int, int]
) -> tuple[Measurement, ...]:
    """Each setting against exact attention; `shape` is the numbers of tokens, heads and of a head's dimensions."""
    exact, made = watches["exact"], []
    encoder = {name: median(watch.seconds[-repeats:]) for name, watch in watches.items()}
    for name, watch in watches.items():
        clusters = [int(counts.sum()) for counts in watch.run.cluster_counts] or [shape[0] * shape[1]]
        cost = mean(make_attention(watch.attention).multiply_adds(*shape, count) for count in clusters)
        made.append(
            Measurement(
                attention=name,
                cluster_ratio=mean(clusters) / (shape[0] * shape[1]),
                error=relative_error(watch.output, exact.output),
                multiply_adds=cost / ExactAttention().multiply_adds(*shape),
                encoder_milliseconds=1e3 * encoder[name],
                encoder_time_ratio=encoder[name] / encoder["exact"],
                milliseconds=timings[name],
                time_ratio=timings[name].median / timings["exact"].median,
            )
        )
    return tuple(made)


def _layer(model: nn.Module, attention: str) -> nn.Module:
    """The layer, a member of a list, that an attention module is part of."""
    parts = attention.split(".")
    last = max(i for i, part in enumerate(parts) if part.isdigit())
    return model.get_submodule(".".join(parts[: last + 1]))


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


def report(measured: Sequence[Measured], repeats: int, before: Mapping[str, str | int]) -> dict[str, Any]:
    """All measurements and their environment, ready for JSON; `before` is the environment at the start."""
    return {
        **run_environment(CPU),
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
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small models and few repeats, to try the command")
    parser.add_argument("--page", type=Path, help="Markdown page whose table is drawn anew, docs/plug-in.md")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    prepare_process(arguments.threads)
    before = run_environment(CPU)
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
