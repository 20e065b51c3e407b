"""The parts of a reproduction: what each measures, on which images, and what its results look like as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.attention_inputs import AttentionInputs, attention_inputs
from models.evaluation.attention_time import attention_times
from models.evaluation.bucket_width import bucket_widths, hashed_queries
from models.evaluation.data_folder import open_samples
from models.evaluation.diversity import diversity
from models.evaluation.output_error import output_errors
from models.evaluation.redundancy import STEPS, map_distances, redundancy
from models.evaluation.reproduce import Part, Plan, Progress, Resolution, at_resolution, at_size, digest
from models.evaluation.rivals import PUBLISHED_WIDTH, Grid, rivals
from models.evaluation.samples import PageSamples, Sample, Samples
from models.evaluation.sharing import query_pairs, sharing_by_distance, synthetic_pairs
from models.evaluation.side_by_side import backbone
from models.evaluation.tradeoff import tradeoff
from models.images import PackedTokens
from models.preprocess import resized

LARGE: Final = 1.5
"""Where either axis has so many times the tokens, fewer images and settings are evaluated."""
TIMED_CLUSTERS: Final = (16, 32, 64)
CALIBRATION_IMAGES: Final = 2
SHARING_SEEDS: Final = 16


def parts(plan: Plan, detector: Detector, distilled: Detector | None, progress: Progress) -> Iterator[Part]:
    """All parts of a plan, cheap ones first; `distilled` adds the trade-off of a second model."""
    yield _diversity(plan, detector)
    yield _redundancy(plan, detector)
    yield _sharing(plan, detector)
    yield _output_error(plan, detector, progress)
    yield _attention_time(plan, detector, progress)
    for size in plan.tradeoff_sizes:
        yield _tradeoff(f"tradeoff-{size}", plan, size, detector, progress)
        if distilled is not None:
            part = _tradeoff(f"tradeoff-{size}-distilled", plan, size, distilled, progress)
            yield replace(part, settings={**part.settings, "distilled_sha256": digest(distilled)})


def samples_at(plan: Plan, detector: Detector, count: int) -> Samples:
    """Images for a detector's input size: generated pages no smaller than that, or the first of the given data."""
    if plan.data is not None and not plan.data.startswith("pages"):
        return open_samples(plan.data, limit=count)
    width = max(612, detector.config.shortest_side)
    return PageSamples(count, round(width * 792 / 612), width)


def calibration(detector: Detector, samples: Iterable[Sample]) -> list[AttentionInputs]:
    """What attention is given in all layers for the first images: what ACT's r are found on."""
    images = islice(samples, CALIBRATION_IMAGES)
    tokens = (backbone(detector, detector.preprocess(sample.image)) for sample in images)
    with torch.inference_mode():
        return [layer for packed in tokens for layer in attention_inputs(detector, packed)]


def _tradeoff(name: str, plan: Plan, size: Resolution, model: Detector, progress: Progress) -> Part:
    count, grid = _effort(plan, size)
    detector = at_resolution(model, size)
    samples = samples_at(plan, detector, count)

    def measure() -> Any:
        attentions = rivals(calibration(detector, samples), grid)
        seen = _counted(samples, lambda done: progress(name, done, count))
        return {"rows": tradeoff(detector, seen, attentions)}

    settings = {**_described(detector, samples), "images": count, "grid": asdict(grid)}
    if size.dense:
        settings["dense"] = True
    return Part(name, settings, measure)


def _effort(plan: Plan, size: Resolution) -> tuple[int, Grid]:
    """How many images and which settings: time grows with the square of the number of tokens."""
    grid = replace(Grid(), seeds=plan.seeds)
    if plan.quick:
        return plan.pages, grid.quick()
    times = size.shortest_side / plan.own_size * (2 if size.dense else 1)
    if times < LARGE:
        return plan.pages, grid
    return max(1, min(plan.pages, round(plan.pages * 1.2 / times**2))), grid.large()


def _diversity(plan: Plan, detector: Detector) -> Part:
    count = min(plan.pages, 4 if plan.quick else 20)
    samples = samples_at(plan, detector, count)

    def measure() -> Any:
        layers = calibration(detector, samples)
        widths = {L: bucket_widths(layers, L, (0.2, 0.5)) for L in (16, 32)}
        settings = [AttentionConfig.act(L, r) for L, found in widths.items() for r in (*found, PUBLISHED_WIDTH)]
        settings += [AttentionConfig.act(16, r, metric="key") for r in bucket_widths(layers, 16, (0.2,), "key")]
        settings = list(dict.fromkeys((detector.config.default_act, *settings)))
        return diversity(detector, (sample.image for sample in samples), settings)

    return Part("diversity", {**_described(detector, samples), "images": count}, measure)


def _redundancy(plan: Plan, detector: Detector) -> Part:
    count = min(plan.pages, 3 if plan.quick else 10)
    samples = samples_at(plan, detector, count)
    last = detector.config.encoder_layers - 1
    layers = sorted({0, last // 2, last})

    def measure() -> Any:
        shown = max(islice(samples, count), key=lambda sample: len(set(sample.truth.labels)))
        distances = [map_distances(detector, sample.image) for sample in samples]
        return {
            "shown": redundancy(detector, shown.image, shown.truth, layers),
            "page_jpeg": _jpeg(shown.image, detector),
            "steps": [*STEPS, "any"],
            "map_distance": np.mean(distances, axis=0).tolist(),
        }

    return Part("redundancy", {**_described(detector, samples), "images": count, "layers": layers}, measure)


def _sharing(plan: Plan, detector: Detector) -> Part:
    count, pairs = (1, 2000) if plan.quick else (4, 20_000)
    samples = samples_at(plan, detector, count)

    def measure() -> Any:
        layers = calibration(detector, samples)
        generator = torch.Generator().manual_seed(0)
        drawn = [query_pairs(hashed_queries(layer, "query"), pairs // len(layers), generator) for layer in layers]
        first, second = (torch.cat(part).double() for part in zip(*drawn, strict=True))
        furthest = float((first - second).norm(dim=-1).quantile(0.9))
        made = synthetic_pairs(first.shape[-1], pairs, furthest, generator)
        widths = [(L, r) for L in (16, 32) for r in bucket_widths(layers, L, (0.5,))]
        seeds = range(SHARING_SEEDS)
        return [
            {
                "L": L,
                "r": r,
                "queries": sharing_by_distance(first, second, L, r, seeds),
                "synthetic": sharing_by_distance(*made, L, r, seeds),
            }
            for L, r in [(1, widths[0][1]), *widths, (32, PUBLISHED_WIDTH)]
        ]

    return Part("sharing", {**_described(detector, samples), "pairs": pairs, "seeds": SHARING_SEEDS}, measure)


def _output_error(plan: Plan, detector: Detector, progress: Progress) -> Part:
    sizes, count = plan.feature_sizes, 1 if plan.quick else 2
    grid = Grid(seeds=1, rounds=(16,), ratios=(0.1, 0.25, 0.5), key_ratios=(0.1, 0.25, 0.5), kmeans_ratios=())
    grid = replace(grid, clusters=(8, 32)) if plan.quick else replace(grid, clusters=(4, 8, 16, 32, 64, 128, 256))

    def measure() -> Any:
        rows = []
        for place, size in enumerate(sizes):
            progress("output-error", place, len(sizes))
            scaled = at_size(detector, size)
            samples = samples_at(plan, scaled, count)
            attentions = [a for a in rivals(calibration(scaled, islice(samples, 1)), grid) if a.mode != "exact"]
            rows += output_errors(scaled, _tokens(scaled, samples), attentions)
        return {"rows": rows}

    samples = samples_at(plan, detector, count)
    settings = {**_described(detector, samples), "images": count, "sizes": sizes, "grid": asdict(grid)}
    return Part("output-error", settings, measure)


def _attention_time(plan: Plan, detector: Detector, progress: Progress) -> Part:
    sizes, repeats = plan.feature_sizes, 3 if plan.quick else 7

    def measure() -> Any:
        rows = []
        for place, size in enumerate(sizes):
            progress("attention-time", place, len(sizes))
            scaled = at_size(detector, size)
            samples = samples_at(plan, scaled, 1)
            layers = calibration(scaled, samples)
            timed = [AttentionConfig.act(16, r) for r in bucket_widths(layers, 16, (0.1, 0.5))]
            timed += [AttentionConfig.act(16, r, metric="key") for r in bucket_widths(layers, 16, (0.1,), "key")]
            timed += [AttentionConfig.kmeans(32, metric="key"), *map(AttentionConfig.tangent, TIMED_CLUSTERS)]
            timed += [AttentionConfig.tangent(64, centres=16)]
            (tokens,) = _tokens(scaled, samples)
            rows += attention_times(scaled, tokens, timed, repeats)
        return {"threads": torch.get_num_threads(), "repeats": repeats, "rows": rows}

    samples = samples_at(plan, detector, 1)
    return Part("attention-time", {**_described(detector, samples), "sizes": sizes, "repeats": repeats}, measure)


def _tokens(detector: Detector, samples: Iterable[Sample]) -> Iterator[PackedTokens]:
    for sample in samples:
        with torch.inference_mode():
            yield backbone(detector, detector.preprocess(sample.image))


def _described(detector: Detector, samples: Samples) -> dict[str, Any]:
    config = detector.config
    return {**samples.described(), "shortest_side": config.shortest_side, "longest_side": config.longest_side}


def _counted(samples: Iterable[Sample], report: Callable[[int], None]) -> Iterator[Sample]:
    for done, sample in enumerate(samples, 1):
        yield sample
        report(done)


def _jpeg(image: NDArray[np.uint8], detector: Detector) -> str:
    """An image at the model's input size as base64 text."""
    config = detector.config
    height, width = resized(image.shape[0], image.shape[1], config.shortest_side, config.longest_side)
    buffer = io.BytesIO()
    Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
