from __future__ import annotations

import numpy as np
import pytest

from models.attention_config import AttentionConfig
from models.detections import AttentionReport, Detections, LayerClusters, Prediction
from models.tiles.merging import merged, merged_detections, merged_report
from models.tiles.tiling import Tiling

COLUMN = Tiling(2200, 600, 3, 1)
"""Tiles of 880 pixels that begin at 0, 660 and 1320, and share 220."""
SQUARE = Tiling(1000, 1000, 2, 2)


def seen(tiling, objects, noise=0.0, ends=0.0):
    """What a perfect detector finds: each tile's part of (label, score, box), and nothing that is hardly there.

    `noise` moves sides by pixels of either sign; boxes that a border cuts end `ends` pixels before it.
    """
    random = np.random.default_rng(0)
    found = []
    for x0, y0, x1, y1 in tiling.boxes_xyxy.tolist():
        rows = []
        for label, score, box in objects:
            left, top, right, bottom = box
            part = np.array(
                [
                    left if left >= x0 else x0 + ends,
                    top if top >= y0 else y0 + ends,
                    right if right <= x1 else x1 - ends,
                    bottom if bottom <= y1 else y1 - ends,
                ]
            )
            if (part[2:] - part[:2]).min() < 4:
                continue
            share = (part[2:] - part[:2]).prod() / ((right - left) * (bottom - top))
            part = (part + random.uniform(-noise, noise, 4) - (x0, y0, x0, y0)).clip(0, (x1 - x0, y1 - y0) * 2)
            rows.append((label, score * (0.5 + share / 2), part))
        rows.sort(key=lambda row: -row[1])
        found.append(detections(rows))
    return found


def detections(rows):
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([score for _, score, _ in rows], np.float32), tuple(label for label, *_ in rows))


def check(tiling, objects, result, off=1e-3):
    assert len(result) == len(objects)
    assert list(result.scores) == sorted(result.scores, reverse=True)
    left = list(result)
    for label, score, box in objects:
        nearest = min(left, key=lambda row: np.abs(np.subtract(row[2], box)).max() + 1e4 * (row[0] != label))
        left.remove(nearest)
        assert nearest[0] == label
        np.testing.assert_allclose(nearest[2], box, atol=off)
        assert nearest[1] <= score + 1e-6


@pytest.mark.parametrize(("noise", "ends"), [(0.0, 0.0), (3.0, 0.0), (3.0, 9.0)])
@pytest.mark.parametrize(
    "box",
    [
        (50, 100, 550, 300),  # in one tile
        (50, 700, 550, 800),  # whole in two
        (50, 600, 550, 800),  # whole in the first, cut by the second
        (50, 800, 550, 1000),  # cut by the first, whole in the second
        (50, 869, 550, 1000),  # hardly in the first
        (50, 400, 550, 1200),  # larger than the overlap: cut by both
        (50, 100, 550, 2100),  # in all three
        (0, 0, 600, 2200),  # the whole image
        (50, 655, 550, 885),  # as large as the overlap, and a little more
    ],
)
def test_an_object_comes_out_once_wherever_the_borders_are(box, noise, ends):
    objects = [("table", 0.9, box)]
    check(COLUMN, objects, merged_detections(COLUMN, seen(COLUMN, objects, noise, ends)), max(1e-3, noise))


@pytest.mark.parametrize(
    "box",
    [(300, 300, 700, 700), (480, 480, 520, 520), (100, 100, 900, 900), (100, 450, 900, 540), (0, 0, 1000, 1000)],
)
def test_an_object_in_four_tiles_comes_out_once(box):
    objects = [("figure", 0.9, box)]
    check(SQUARE, objects, merged_detections(SQUARE, seen(SQUARE, objects, 2.0)), 2.0)


def test_neighbours_of_a_class_stay_apart():
    objects = [("text", 0.9 - i / 100, (40.0, y, 560.0, y + 58.0)) for i, y in enumerate(range(10, 2140, 64))]
    columns = [("text", 0.5 - i / 100, (x, 300.0, x + 120.0, 1900.0)) for i, x in enumerate((30, 160, 290, 420))]
    for wanted in (objects, columns):
        check(COLUMN, wanted, merged_detections(COLUMN, seen(COLUMN, wanted, 1.0)), 1.0)


def test_an_object_inside_another_of_its_class_stays():
    objects = [("table", 0.9, (50, 400, 550, 1200)), ("table", 0.8, (100, 760, 200, 800))]
    check(COLUMN, objects, merged_detections(COLUMN, seen(COLUMN, objects)))


def test_where_a_part_looks_like_another_class_the_tile_that_sees_all_of_it_decides():
    objects = [("table", 0.9, (50, 800, 550, 1000))]
    first, second, third = seen(COLUMN, objects)
    mistaken = Detections(first.boxes_xyxy, np.array([0.95], np.float32), ("figure",))
    check(COLUMN, objects, merged_detections(COLUMN, [mistaken, second, third]))


def test_a_part_of_an_object_that_no_other_tile_found_is_kept():
    objects = [("table", 0.9, (50, 400, 550, 1200))]
    first, _, third = seen(COLUMN, objects)
    result = merged_detections(COLUMN, [first, detections([]), third])
    assert [(label, box) for label, _, box in result] == [("table", (50.0, 400.0, 550.0, 880.0))]


@pytest.mark.parametrize(("y", "decides"), [(700, 0), (750, 1)])
def test_the_tile_that_sees_a_place_from_further_inside_decides(y, decides):
    first = detections([("text", 0.6, (50, y, 550, y + 60))])
    second = detections([("figure", 0.8, (52, y - 658, 551, y - 599))])
    result = merged_detections(COLUMN, [first, second, detections([])])
    assert (
        list(result)
        == [
            [("text", pytest.approx(0.6), (50.0, y, 550.0, y + 60.0))],
            [("figure", pytest.approx(0.8), (52.0, y + 2.0, 551.0, y + 61.0))],
        ][decides]
    )


def test_of_one_object_seen_equally_well_the_better_box_is_kept():
    first = detections([("text", 0.6, (50, 700, 550, 840))])
    second = detections([("text", 0.8, (52, 40, 551, 180))])
    result = merged_detections(COLUMN, [first, second, detections([])])
    assert [(label, box) for label, _, box in result] == [("text", (52.0, 700.0, 551.0, 840.0))]


def test_nothing_found_is_nothing():
    assert len(merged_detections(COLUMN, [detections([])] * 3)) == 0


def report(clusters, gflops):
    layers = tuple(LayerClusters(i, *row) for i, row in enumerate(clusters))
    return AttentionReport(AttentionConfig.act(8, 2.0), 100, layers, gflops, 2 * gflops)


def test_the_report_sums_costs_and_averages_clusters():
    whole = merged_report([report([(10.0, 8, 12), (20.0, 20, 20)], 1.5), report([(14.0, 9, 30), (30.0, 1, 40)], 2.5)])
    assert (whole.encoder_gflops, whole.exact_encoder_gflops, whole.tokens) == (4.0, 8.0, 100)
    assert whole.clusters == (LayerClusters(0, 12.0, 8, 30), LayerClusters(1, 25.0, 1, 40))


def test_one_tile_changes_nothing():
    prediction = Prediction(detections([("text", 0.6, (1, 2, 3, 4)), ("text", 0.5, (1, 2, 3, 4))]), report([], 1.0))
    assert merged(Tiling(10, 10), [prediction], nms=0.5) is prediction


def test_boxes_of_one_tile_that_overlap_are_dropped_first():
    rows = [("text", 0.6, (1, 2, 30, 40)), ("text", 0.5, (1, 2, 30, 41))]
    predictions = [Prediction(detections(part), report([], 1.0)) for part in (rows, [])]
    assert len(merged(Tiling(100, 50, 2, 1), predictions, nms=0.5).detections) == 1
    assert len(merged(Tiling(100, 50, 2, 1), predictions, nms=None).detections) == 2
