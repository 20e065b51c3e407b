"""Whether neighbours attend alike: attention maps of two near positions and a far one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.data.coco import GroundTruth
from models.detector import Detector
from models.evaluation.attention_inputs import AttentionInputs, attention_inputs

STEPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Attention maps over one image's grid of `height` x `width` positions.

    `positions` are (row, column) of a position, its right neighbour and a far one; `maps[l][p]` is the map of
    position p in encoder layer l, mean of the heads, row by row, summing to 1.
    """

    height: int
    width: int
    positions: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    maps: dict[int, tuple[tuple[float, ...], ...]]


def attention_maps(inputs: AttentionInputs, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
    """Softmax(q kᵀ / sqrt(D)) [H, positions, N] of some positions."""
    queries = inputs.scaled_queries[:, list(positions)]
    logits: Tensor = queries @ inputs.k[0].transpose(-1, -2)
    return logits.softmax(-1)


@torch.inference_mode()
def redundancy(detector: Detector, image: NDArray[np.uint8], truth: GroundTruth, layers: Sequence[int]) -> Redundancy:
    """Maps in the middle of the largest object, right beside it, and in the middle of the object furthest away."""
    prepared = detector.preprocess(image)
    stride = detector.config.backbone.stride
    height, width = -(-prepared.height // stride), -(-prepared.width // stride)
    scale = prepared.width / image.shape[1] / stride
    positions = _positions(truth.boxes_xyxy * scale, height, width)
    flat = [row * width + column for row, column in positions]
    inputs = attention_inputs(detector, detector.encoder_tokens(prepared))
    maps = {layer: attention_maps(inputs[layer], flat).mean(0) for layer in layers}
    return Redundancy(
        height, width, positions, {layer: tuple(tuple(row) for row in found.tolist()) for layer, found in maps.items()}
    )


@torch.inference_mode()
def map_distances(detector: Detector, image: NDArray[np.uint8], pairs: int = 200, seed: int = 0) -> list[list[float]]:
    """How much attention maps differ by how far apart their positions are: a row a layer, a column for each STEPS.

    Total variation distance (0: equal, 1: disjoint) of the maps of positions so many grid steps apart in a row or
    column, mean of `pairs` drawn positions and all heads; the last column is for any two positions.
    """
    prepared = detector.preprocess(image)
    stride = detector.config.backbone.stride
    height, width = -(-prepared.height // stride), -(-prepared.width // stride)
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(height, size=pairs), generator.integers(width, size=pairs)
    partners = [_step(rows, columns, step, height, width) for step in STEPS]
    partners.append(generator.permutation(rows) * width + generator.permutation(columns))
    layers = attention_inputs(detector, detector.encoder_tokens(prepared))
    here = [attention_maps(layer, rows * width + columns) for layer in layers]
    return [
        [float((own - attention_maps(layer, there)).abs().sum(-1).mean() / 2) for there in partners]
        for layer, own in zip(layers, here, strict=True)
    ]


def _step(rows: NDArray[np.int64], columns: NDArray[np.int64], step: int, height: int, width: int) -> NDArray[np.int64]:
    """Flat positions `step` away: along rows for even places, columns for odd ones, turned back at the border."""
    down = np.arange(len(rows)) % 2 == 1
    moved_rows = np.where(down, np.where(rows + step < height, rows + step, rows - step), rows).clip(0, height - 1)
    moved_columns = np.where(down, columns, np.where(columns + step < width, columns + step, columns - step))
    flat: NDArray[np.int64] = moved_rows * width + moved_columns.clip(0, width - 1)
    return flat


def _positions(
    boxes_xyxy: NDArray[np.floating], height: int, width: int
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """From boxes in grid units; the middle and the corner of the grid where there are no boxes."""
    if not len(boxes_xyxy):
        boxes_xyxy = np.array([[0, 0, width, height], [width - 2, height - 2, width, height]], np.float64)
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    first = centres[np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1).argmax()]
    far = centres[np.linalg.norm(centres - first, axis=1).argmax()]
    row, column = min(int(first[1]), height - 1), min(int(first[0]), width - 2)
    return (row, column), (row, column + 1), (min(int(far[1]), height - 1), min(int(far[0]), width - 1))
