"""The parts of a reproduction: what each measures, on which images, and what its results look like as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.evaluate import EXACT, evaluate
from models.evaluation.resampling import RESAMPLES
from models.preprocess import resized
from models.reproduction.diversity import diversity
from models.reproduction.encoder_parts import encoder_parts
from models.reproduction.part_images import calibration, counted, described, samples_at
from models.reproduction.redundancy import STEPS, map_distances, redundancy
from models.reproduction.reproduce import Part, Plan, Progress, Resolution, at_resolution, digest
from models.reproduction.rivals import PUBLISHED_WIDTH, Grid, rivals
from models.reproduction.sharing import query_pairs, sharing_by_distance, synthetic_pairs
from models.reproduction.tradeoff import tradeoff
from models.tuning.bucket_width import bucket_widths, hashed_queries

LARGE: Final = 1.5
"""Where either axis has so many times the tokens, fewer images and settings are evaluated."""
SHARING_SEEDS: Final = 16


def parts(plan: Plan, detector: Detector, distilled: Detector | None, progress: Progress) -> Iterator[Part]:
    """All parts of a plan, cheap ones first; `distilled` adds the trade-off of a second model, short at many tokens.

    A model with box refinement is measured without it too, at the first size.
    """
    yield _diversity(plan, detector)
    yield _redundancy(plan, detector)
    yield _sharing(plan, detector)
    yield from encoder_parts(plan, detector, progress)
    if detector.config.box_refinement is not None:
        size = plan.tradeoff_sizes[0]
        yield _tradeoff(f"tradeoff-{size}-plain", plan, size, detector.without_box_refinement(), progress)
    for size in plan.tradeoff_sizes:
        yield _tradeoff(f"tradeoff-{size}", plan, size, detector, progress)
        if distilled is not None:
            yield _tradeoff(f"tradeoff-{size}-distilled", plan, size, distilled, progress, detector)


def _tradeoff(
    name: str, plan: Plan, size: Resolution, model: Detector, progress: Progress, before: Detector | None = None
) -> Part:
    """`before`: the model before distillation, whose exact attention a distilled one is compared with as well."""
    count, grid = _effort(plan, size)
    if before is not None and size.dense and not plan.quick:
        grid = grid.distilled()
    detector = at_resolution(model, size)
    samples = samples_at(plan, detector, count)

    def measure() -> Any:
        attentions = rivals(calibration(detector, samples), grid)
        seen = counted(samples, lambda done: progress(name, done, count))
        if before is None:
            return {"rows": tradeoff(detector, seen, attentions)}
        (exact,) = evaluate(at_resolution(before, size), samples, (EXACT,), RESAMPLES)
        return {"before_ap": exact.metrics.ap, "rows": tradeoff(detector, seen, attentions, exact)}

    settings = {**described(detector, samples), "images": count, "grid": asdict(grid), "resamples": RESAMPLES}
    if size.dense:
        settings["dense"] = True
    if detector.config.box_refinement is not None:
        settings["box_refinement"] = True
    if before is not None:
        settings["distilled_sha256"] = digest(model)
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

    return Part("diversity", {**described(detector, samples), "images": count}, measure)


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

    return Part("redundancy", {**described(detector, samples), "images": count, "layers": layers}, measure)


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

    return Part("sharing", {**described(detector, samples), "pairs": pairs, "seeds": SHARING_SEEDS}, measure)


def _jpeg(image: NDArray[np.uint8], detector: Detector) -> str:
    """An image at the model's input size as base64 text."""
    config = detector.config
    height, width = resized(image.shape[0], image.shape[1], config.shortest_side, config.longest_side)
    buffer = io.BytesIO()
    Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
