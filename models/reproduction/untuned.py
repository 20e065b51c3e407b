"""Attention settings for a model that nobody has tuned: the errors that the same L, r and C make in different models.

    python -m models.reproduction.untuned                       # into docs/reproduction/untuned.json
    python -m models.reproduction.untuned --data DIR --pages 3  # on images of a folder, in COCO's format
    python -m models.reproduction.untuned --draw-only           # the tables again, from the JSON

The models are the embedded ones, `pages-small` with queries and keys rescaled, and encoders of the published shape, and
with other widths of a head, whose random weights are made to attend as sharply as the trained ones or more
(`models.reproduction.made_encoder`). Detections are compared where the weights were trained.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import torch
from rich.console import Console

from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.data.open_samples import open_samples
from models.data.samples import Sample
from models.detector import Detector, load_detector
from models.detr.encoder import Encoder
from models.evaluation.attention_runs import compare, run_attentions
from models.evaluation.fidelity import fidelity
from models.evaluation.weights_digest import weights_digest
from models.images import PackedTokens
from models.measurement.results import write_results
from models.reproduction.claim import digits, markdown
from models.reproduction.made_encoder import characters, made_encoder, scale_attention, widened_tokens
from models.reproduction.output_error import output_errors

EXACT: Final = AttentionConfig.exact()
WIDTHS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
SETTINGS: Final = (
    *(AttentionConfig.act(16, r, metric="key") for r in WIDTHS),
    *(AttentionConfig.act(16, r) for r in WIDTHS),
    AttentionConfig.act(),
    *(AttentionConfig.tangent(C) for C in (16, 32, 64)),
)
"""ACT in either metric and as published, and tangent attention."""

SHOWN: Final = (
    AttentionConfig.act(16, 2.0, metric="key"),
    AttentionConfig.act(16, 2.0),
    AttentionConfig.act(),
    AttentionConfig.tangent(32),
)
"""Those of the settings that are shown model by model."""

LOGIT_FACTORS: Final = (0.25, 0.5, 2.0, 4.0)
"""What logits are multiplied by: other functions, less and more sharp."""
QUERY_FACTORS: Final = (0.25, 4.0)
"""What queries are multiplied by, and keys divided by: the same function by other weights."""
MADE: Final = ((8, None), (8, 0.1), (8, 0.03), (4, None), (4, 0.1), (16, None), (16, 0.1))
"""Heads of the made encoders, and the share of the keys that a query attends to; None: as in the trained layers."""
MADE_SCALE: Final = 1.2
"""Size of the images of the made encoders over `pages-small`'s own: as many tokens as DETR has of a photograph."""
MADE_PAGES: Final = 2

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """An encoder and the tokens that enter it, by page.

    `detector` is the one that they belong to, where its weights are trained; `pages` are its images then.
    """

    name: str
    encoder: Encoder
    tokens: Sequence[PackedTokens]
    detector: Detector | None = None
    pages: Sequence[Sample] = ()

    @property
    def share(self) -> float:
        """The share of the keys that a query attends to on the first page, mean of layers."""
        return fmean(character.share for character in characters(self.encoder, self.tokens[0]))


def trained(detector: Detector, pages: Sequence[Sample], name: str = "") -> Subject:
    """Return a detector as a subject."""
    tokens = [detector.encoder_tokens(detector.preprocess(page.image)) for page in pages]
    return Subject(name or detector.name, detector.detr.transformer.encoder, tokens, detector, pages)


def rescaled(detector: Detector, pages: Sequence[Sample], queries: float, keys: float, name: str) -> Subject:
    """Return a detector whose queries and keys are multiplied by these factors in every layer."""
    other = copy.deepcopy(detector)
    scale_attention(other.detr.transformer.encoder, queries, keys)
    subject = trained(other, pages, name)
    return subject if queries * keys == 1 else replace(subject, detector=None, pages=())


def made(detector: Detector, pages: Sequence[Sample], heads: int, share: float | None) -> Subject:
    """Return an encoder of the published width and depth with so many heads, made on a detector's first page."""
    larger = detector.with_sizes(round(MADE_SCALE * detector.config.shortest_side))
    config = DetrConfig("made", ("object",), heads=heads)
    images = [larger.preprocess(page.image) for page in pages[:MADE_PAGES]]
    own = characters(larger.detr.transformer.encoder, larger.encoder_tokens(images[0]))
    wanted = [replace(one, share=share or one.share) for one in _repeated(own, config.encoder_layers)]
    tokens = [widened_tokens(larger, image, config.hidden_dim) for image in images]
    sharpness = "as trained" if share is None else f"{share:.0%}"
    name = f"random, {heads} heads of {config.head_dim}, {sharpness}"
    return Subject(name, made_encoder(config, tokens[0], wanted), tokens)


def subjects(small: Detector, large: Detector, pages: Sequence[Sample]) -> Iterator[Subject]:
    """Yield all models, one at a time."""
    yield trained(small, pages)
    yield trained(large, pages)
    for factor in QUERY_FACTORS:
        yield rescaled(small, pages, factor, 1 / factor, f"{small.name}, queries x {factor:g}, keys / {factor:g}")
    for factor in LOGIT_FACTORS:
        yield rescaled(small, pages, factor**0.5, factor**0.5, f"{small.name}, logits x {factor:g}")
    for heads, share in MADE:
        yield made(small, pages, heads, share)


def measure(subject: Subject, settings: Sequence[AttentionConfig]) -> Row:
    """Return what every setting does to a subject; means over its pages.

    `attention` is the error of a layer's attention output before its projection, mean of the layers, and `encoder` that
    of the encoder's output, both as ‖approximate - exact‖ / ‖exact‖; `ratio` is C/N; `cost` attention's multiply-adds
    over those of exact attention; `match_rate` and `edge_drift` are those of `models.evaluation.fidelity`.
    """
    rows = [
        {
            "setting": row["attention"],
            "ratio": row["clusters"] / row["tokens"],
            "cost": row["cost"],
            "attention": fmean(row["layers"]),
            "encoder": row["encoder"],
        }
        for row in output_errors(subject.encoder, subject.tokens, settings)
    ]
    agreement = _agreement(subject, settings) if subject.detector else [Row() for _ in rows]
    return {
        "model": subject.name,
        "tokens": fmean(len(tokens.values) for tokens in subject.tokens),
        "share": subject.share,
        "pages": len(subject.tokens),
        "rows": [row | more for row, more in zip(rows, agreement, strict=True)],
    }


def _agreement(subject: Subject, settings: Sequence[AttentionConfig]) -> list[Row]:
    detector = subject.detector
    assert detector is not None  # noqa: S101
    near: dict[AttentionConfig, list[Any]] = {setting: [] for setting in settings}
    for page in subject.pages:
        image = detector.preprocess(page.image)
        runs = run_attentions(detector, image, (EXACT, *settings))
        for setting in settings:
            near[setting].append(compare(runs[EXACT], runs[setting], image.original_height, image.original_width))
    means = [fidelity(near[setting]) for setting in settings]
    return [{"match_rate": one.match_rate, "edge_drift": one.edge_drift} for one in means]


def _repeated(layers: Sequence[Any], count: int) -> list[Any]:
    return [layers[index % len(layers)] for index in range(count)]


def tables(document: Mapping[str, Any]) -> list[str]:
    """Return the Markdown of what each setting does over all models, and of some settings model by model."""
    return [_over_models(document["models"]), _by_model(document["models"])]


def _over_models(models: Sequence[Mapping[str, Any]]) -> str:
    """The range over all models, a setting a line."""
    columns = ["setting", "error of attention", "error of the encoder, trained", "random", "C/N", "cost", "matched"]
    lines = []
    for number, first in enumerate(models[0]["rows"]):
        rows = [model["rows"][number] for model in models]
        random = [row for row, model in zip(rows, models, strict=True) if model["model"].startswith("random")]
        others = [row for row in rows if row not in random]
        matched = [row["match_rate"] for row in others if row.get("match_rate") is not None]
        lines.append(
            [
                f"`{first['setting']}`",
                _range([row["attention"] for row in rows], 3),
                _range([row["encoder"] for row in others], 3),
                _range([row["encoder"] for row in random], 3),
                _range([row["ratio"] for row in rows], 2),
                _range([row["cost"] for row in rows], 2),
                digits(min(matched, default=None), 3),
            ]
        )
    return markdown(columns, lines)


def _by_model(models: Sequence[Mapping[str, Any]]) -> str:
    """Error of attention and C/N of the settings in `SHOWN`, a model a line."""
    lines = []
    for model in models:
        by_setting = {row["setting"]: row for row in model["rows"]}
        chosen = [by_setting[str(setting)] for setting in SHOWN]
        cells = [f"{row['attention']:.3f} at {row['ratio']:.2f}" for row in chosen]
        lines.append([model["model"], f"{model['tokens']:.0f}", f"{model['share']:.0%}", *cells])
    return markdown(["model", "N", "keys attended to", *(f"`{setting}`" for setting in SHOWN)], lines)


def _range(values: Sequence[float], decimals: int) -> str:
    return f"{digits(min(values), decimals)} to {digits(max(values), decimals)}" if values else "-"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m models.reproduction.untuned",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("docs/reproduction/untuned.json"), help="JSON file")
    parser.add_argument("--data", default="journals", help="as for act-detr evaluate")
    parser.add_argument("--pages", type=int, default=3, help="number of images, the first ones")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--draw-only", action="store_true", help="print the tables of the JSON that is there")
    return parser.parse_args(argv)


def run(data: str, count: int, file: Path, report: Callable[[str], None]) -> None:
    """Measure all models on the first images of the data, and write the results."""
    samples = open_samples(data, limit=count)
    small, large = load_detector("pages-small", device="cpu"), load_detector("pages-large", device="cpu")
    results = []
    for subject in subjects(small, large, list(samples)):
        report(subject.name)
        results.append(measure(subject, SETTINGS))
    digests = {detector.name: weights_digest(detector) for detector in (small, large)}
    write_results(file, {"data": samples.described(), "weights_sha256": digests, "models": results})


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, then print the tables."""
    arguments = parse_arguments(argv)
    try:
        if not arguments.draw_only:
            torch.set_num_threads(arguments.threads)
            run(arguments.data, arguments.pages, arguments.output, Console(stderr=True).print)
        document = json.loads(arguments.output.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{error}")
    print(*tables(document), sep="\n\n")


if __name__ == "__main__":
    main()
