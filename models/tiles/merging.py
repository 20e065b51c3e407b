"""What a detector found in the tiles of an image, put together so that an object at a border comes out once.

1. Of tiles that see all of a place, the one that sees it from furthest inside decides what is there: a box from any
   other is dropped. Near its border, a tile sees objects without what is around them, or only in part.
2. Boxes of one class from two tiles, of which one may have been cut off at a border, are of one object where they agree
   in the region that both tiles see. The object is larger than the overlap, and its box is the smallest around both.

Overlap alone, as in non-maximum suppression, cannot tell two parts of one object from two objects: parts overlap
little, and an object may lie inside another of its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.detections import AttentionReport, Detections, LayerClusters, Prediction
from models.tiles.tiling import Tiling

MARGIN: Final = 0.03
"""Share of a tile's side: a box that ends this near to a border inside the image may have been cut off by it."""
AGREEMENT: Final = 0.3
"""IoU above which two boxes agree: parts of one object are found less exactly than whole ones."""

Boxes = NDArray[np.float32]


def merged(tiling: Tiling, predictions: Sequence[Prediction], nms: float | None) -> Prediction:
    """Return the prediction for an image from those for its tiles, boxes in pixels of the image.

    `nms` applies within each tile first: see `Detections.select`. A single tile's prediction is returned as it is.
    """
    if len(tiling) == 1:
        return predictions[0]
    found = [prediction.detections.select(nms=nms) for prediction in predictions]
    report = merged_report([prediction.attention for prediction in predictions])
    return Prediction(merged_detections(tiling, found), report)


def merged_report(reports: Sequence[AttentionReport]) -> AttentionReport:
    """Return the account of an image from those of its tiles: multiply-adds of all of them, tokens of one.

    Tiles are of one size, and have as many tokens each. Clusters are the mean over the tiles, and the least and most of
    any.
    """
    first = reports[0]
    layers = zip(*(report.clusters for report in reports), strict=True)
    return AttentionReport(
        first.config,
        first.tokens,
        tuple(_mean_clusters(layer) for layer in layers),
        sum(report.encoder_gflops for report in reports),
        sum(report.exact_encoder_gflops for report in reports),
        first.merged_tokens,
    )


def _mean_clusters(tiles: Sequence[LayerClusters]) -> LayerClusters:
    mean = sum(tile.mean for tile in tiles) / len(tiles)
    return LayerClusters(tiles[0].layer, mean, min(tile.min for tile in tiles), max(tile.max for tile in tiles))


def merged_detections(tiling: Tiling, found: Sequence[Detections]) -> Detections:
    """Return the detections of an image from those in its tiles, in pixels of each tile."""
    tiles = tiling.boxes_xyxy.astype(np.float32)
    tile = np.repeat(np.arange(len(tiles)), [len(one) for one in found])
    boxes = np.concatenate([one.boxes_xyxy for one in found]) + np.tile(tiles[tile, :2], 2)
    scores = np.concatenate([one.scores for one in found])
    labels = np.array([label for one in found for label in one.labels], object)

    depths = _depths(tiling, boxes, tiles)
    own, deepest = depths[np.arange(len(tile)), tile], depths.max(1, initial=-np.inf)
    cut = own < MARGIN
    kept = np.flatnonzero((own == deepest) | (deepest < MARGIN))
    best_first = kept[np.argsort(-scores[kept], kind="stable")]
    groups = _groups(boxes[best_first], tiles[tile[best_first]], tile[best_first], labels[best_first], cut[best_first])

    members = [best_first[groups == group] for group in np.unique(groups[groups >= 0])]
    around = [np.concatenate((boxes[rows, :2].min(0), boxes[rows, 2:].max(0))) for rows in members]
    firsts = [rows[0] for rows in members]
    return Detections(np.array(around, np.float32).reshape(-1, 4), scores[firsts], tuple(labels[firsts].tolist()))


def _depths(tiling: Tiling, boxes: Boxes, tiles: Boxes) -> Boxes:
    """How far inside each tile [n, 4] each box [m, 4] is: [m, n], as a share of the tile's side, below 0 outside.

    It counts to the nearest border inside the image: those of the image cut nothing off.
    """
    height, width = tiling.tile_size
    sides, image = np.array((width, height), np.float32), np.array((tiling.width, tiling.height))
    low = np.where(tiles[:, :2] > 0, (boxes[:, None, :2] - tiles[:, :2]) / sides, np.inf)
    high = np.where(tiles[:, 2:] < image, (tiles[:, 2:] - boxes[:, None, 2:]) / sides, np.inf)
    depths: Boxes = np.minimum(low, high).min(-1)
    return depths


def _groups(
    boxes: Boxes, tiles: Boxes, tile: NDArray[np.int64], labels: NDArray[np.object_], cut: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Number the objects that boxes [m, 4], best first, are of, by their best box; -1 where a better one stands for it.

    Of each box: `tiles` [m, 4] and `tile` are its tile and that one's index, `cut` whether it may have been cut off.
    """
    groups = np.full(len(boxes), -1)
    for row in range(len(boxes)):
        better = np.flatnonzero((groups[:row] >= 0) & (labels[:row] == labels[row]) & (tile[:row] != tile[row]))
        agreeing = better[_agree(boxes, tiles, row, better)]
        if not len(agreeing):
            groups[row] = row
            continue
        group, *others = np.unique(groups[agreeing])
        parts = agreeing[groups[agreeing] == group]
        if tile[row] in tile[groups == group] or not (cut[row] or cut[parts].any()):
            continue
        groups[row] = group
        for other in others:  # this box joins parts that do not meet
            if not np.isin(tile[groups == other], tile[groups == group]).any():
                groups[groups == other] = group
    return groups


def _agree(boxes: Boxes, tiles: Boxes, row: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether one box agrees with others, of other tiles, in the region that both tiles see."""
    low = np.tile(np.maximum(tiles[row, :2], tiles[others, :2]), 2)
    high = np.tile(np.minimum(tiles[row, 2:], tiles[others, 2:]), 2)
    one, many = (part.clip(low, np.maximum(low, high)) for part in (boxes[row], boxes[others]))
    sides = np.minimum(one[:, 2:], many[:, 2:]) - np.maximum(one[:, :2], many[:, :2])
    intersections = sides.clip(0).prod(-1)
    unions = _areas(one) + _areas(many) - intersections
    agree: NDArray[np.bool_] = intersections > AGREEMENT * unions
    return agree


def _areas(boxes: Boxes) -> NDArray[np.float32]:
    areas: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return areas
