"""The parts of a reproduction that look at the encoder alone: no ground truth, or little of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import islice
from typing import Any, Final

import torch

from models.config import AttentionConfig, named_config
from models.detector import Detector
from models.evaluation.attention_inputs import encoder_inputs
from models.evaluation.resampling import RESAMPLES
from models.reproduction.attention_time import attention_times
from models.reproduction.layer_clusters import errors_by_layer
from models.reproduction.output_error import output_errors
from models.reproduction.part_images import calibration, counted, described, encoder_tokens, samples_at
from models.reproduction.published_encoder import Character, characters, encoder_cost, made_encoder, widened_tokens
from models.reproduction.reproduce import Part, Plan, Progress, Resolution, at_resolution
from models.reproduction.rivals import Grid, rivals
from models.reproduction.shared_clusters import compare_sharing
from models.tuning.bucket_width import bucket_widths

TIMED_CLUSTERS: Final = (16, 32, 64)
SHARED: Final = (2, 4, 8, 16, 32, 64, 128)
"""The C at which a layer's errors are measured."""
SHARED_MEANS: Final = (4, 8, 16, 32)
SHARED_IMAGES: Final = 30
"""At the model's own size; a third with more tokens."""
PUBLISHED: Final = "detr-r50-dc5"
SHARPNESS: Final = (0.02, 0.1, 0.3)
"""Effective shares of keys beside the trained model's own."""


def encoder_parts(plan: Plan, detector: Detector, progress: Progress) -> list[Part]:
    """Errors of the output, time, clusters by layer, and the published size."""
    sizes = plan.tradeoff_sizes
    return [
        _output_error(plan, detector, progress),
        _attention_time(plan, detector, progress),
        *(_layer_clusters(plan, size, detector, progress) for size in sizes[: 1 if plan.quick else 2]),
        _published_size(plan, sizes[-1], detector, progress),
    ]


def _output_error(plan: Plan, detector: Detector, progress: Progress) -> Part:
    sizes, count = plan.feature_sizes, 1 if plan.quick else 2
    grid = Grid(seeds=1, rounds=(16,), ratios=(0.1, 0.25, 0.5), key_ratios=(0.1, 0.25, 0.5), kmeans_ratios=())
    grid = replace(grid, clusters=(8, 32)) if plan.quick else replace(grid, clusters=(4, 8, 16, 32, 64, 128, 256))

    def measure() -> Any:
        rows = []
        for place, size in enumerate(sizes):
            progress("output-error", place, len(sizes))
            scaled = detector.with_sizes(size)
            samples = samples_at(plan, scaled, count)
            attentions = [a for a in rivals(calibration(scaled, islice(samples, 1)), grid) if a.mode != "exact"]
            rows += output_errors(scaled.detr.transformer.encoder, encoder_tokens(scaled, samples), attentions)
        return {"rows": rows}

    samples = samples_at(plan, detector, count)
    settings = {**described(detector, samples), "images": count, "sizes": sizes, "grid": asdict(grid)}
    return Part("output-error", settings, measure)


def _attention_time(plan: Plan, detector: Detector, progress: Progress) -> Part:
    sizes, repeats = plan.feature_sizes, 3 if plan.quick else 7

    def measure() -> Any:
        rows = []
        for place, size in enumerate(sizes):
            progress("attention-time", place, len(sizes))
            scaled = detector.with_sizes(size)
            samples = samples_at(plan, scaled, 1)
            layers = calibration(scaled, samples)
            timed = [AttentionConfig.act(16, r) for r in bucket_widths(layers, 16, (0.1, 0.5))]
            timed += [AttentionConfig.act(16, r, metric="key") for r in bucket_widths(layers, 16, (0.1,), "key")]
            timed += [AttentionConfig.kmeans(32, metric="key"), *map(AttentionConfig.tangent, TIMED_CLUSTERS)]
            timed += [AttentionConfig.tangent(64, expansion_points=16)]
            (tokens,) = encoder_tokens(scaled, samples)
            rows += attention_times(scaled, tokens, timed, repeats)
        return {"threads": torch.get_num_threads(), "repeats": repeats, "rows": rows}

    samples = samples_at(plan, detector, 1)
    return Part("attention-time", {**described(detector, samples), "sizes": sizes, "repeats": repeats}, measure)


def _layer_clusters(plan: Plan, size: Resolution, model: Detector, progress: Progress) -> Part:
    name, detector = f"layer-clusters-{size}", at_resolution(model, size)
    tuning = 1 if plan.quick else 4
    count = min(plan.pages, 2 if plan.quick else SHARED_IMAGES // (3 if size.dense else 1))
    samples = samples_at(plan, detector, tuning + count)

    def measure() -> Any:
        first = [sample.image for sample in islice(samples, tuning)]
        tokens = (detector.encoder_tokens(detector.preprocess(image)) for image in first)
        errors = errors_by_layer(detector, tokens, SHARED)
        others = counted(islice(samples, tuning, None), lambda done: progress(name, done, count))
        rows, gains = compare_sharing(detector, others, errors, SHARED, SHARED_MEANS, RESAMPLES)
        return {"clusters": SHARED, "errors": errors.tolist(), "rows": rows, "gains": gains}

    settings = {**described(detector, samples), "tuning_images": tuning, "images": count, "clusters": SHARED}
    return Part(name, {**settings, "means": SHARED_MEANS, "dense": size.dense, "resamples": RESAMPLES}, measure)


def _published_size(plan: Plan, size: Resolution, model: Detector, progress: Progress) -> Part:
    detector, config = at_resolution(model, size), named_config(PUBLISHED)
    samples = samples_at(plan, detector, 1)
    grid = Grid(seeds=1, rounds=(16,), ratios=(0.1, 0.25, 0.5), key_ratios=(0.1, 0.25), kmeans_ratios=())
    grid = replace(grid, clusters=(8, 32) if plan.quick else (8, 16, 32, 64, 128))
    sharpness = SHARPNESS[1:2] if plan.quick else SHARPNESS

    def measure() -> Any:
        image = detector.preprocess(next(iter(samples)).image)
        own = characters(detector.detr.transformer.encoder, detector.encoder_tokens(image))
        trained = [own[place * len(own) // config.encoder_layers] for place in range(config.encoder_layers)]
        tokens = widened_tokens(detector, image, config.hidden_dim)
        levels = []
        for place, share in enumerate((None, *sharpness)):
            progress("published-size", place, 1 + len(sharpness))
            wanted = [one if share is None else Character(share, one.strength) for one in trained]
            encoder = made_encoder(config, tokens, wanted)
            attentions = [a for a in rivals(encoder_inputs(encoder, tokens), grid) if a.mode != "exact"]
            rows = output_errors(encoder, [tokens], attentions)
            levels.append({"share": share, "found": characters(encoder, tokens), "rows": rows})
        return {"trained": own, "attention_part": encoder_cost(config, tokens.lengths[0]), "levels": levels}

    settings = {**described(detector, samples), "dense": size.dense, "encoder": PUBLISHED, "sharpness": sharpness}
    return Part("published-size", {**settings, "grid": asdict(grid)}, measure)
