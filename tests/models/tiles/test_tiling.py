from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.named_models import named_config, pages_small
from models.resizing import Resizing
from models.tiles.tiling import MAX_REDUCTION, OVERLAP, Tiling, parse_tiles

CONFIG = pages_small()


@pytest.mark.parametrize(("text", "tiles"), [("auto", "auto"), ("1x1", (1, 1)), ("2x3", (2, 3)), ("10x1", (10, 1))])
def test_tiles_are_read(text, tiles):
    assert parse_tiles(text) == tiles


@pytest.mark.parametrize(
    "text", ["", "2", "0x1", "1x0", "2x", "x2", "2X3", "-1x2", "2x3x4", "02x3", "99999x1", "AUTO", "2x3 "]
)
def test_other_tiles_are_refused(text):
    with pytest.raises(ValueError, match="auto or ROWSxCOLUMNS"):
        parse_tiles(text)


@pytest.mark.parametrize("height", [1, 2, 5, 17, 640, 999, 10_000])
@pytest.mark.parametrize("width", [1, 3, 400, 7001])
@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (1, 3), (3, 4), (8, 4)])
def test_tiles_of_one_size_cover_the_image_and_neighbours_overlap(height, width, grid):
    tiling = Tiling.of(height, width, grid, CONFIG)
    assert (tiling.rows, tiling.columns) == (min(grid[0], height), min(grid[1], width))
    boxes = tiling.boxes_xyxy
    assert len(boxes) == len(tiling) == tiling.rows * tiling.columns
    assert {(y1 - y0, x1 - x0) for x0, y0, x1, y1 in boxes.tolist()} == {tiling.tile_size}
    assert boxes[0, :2].tolist() == [0, 0]
    assert boxes[-1, 2:].tolist() == [width, height]
    for axis, side in ((0, tiling.tile_size[1]), (1, tiling.tile_size[0])):
        starts = np.unique(boxes[:, axis])
        assert (np.diff(starts) <= side - OVERLAP * side + 1).all()


def test_tiles_are_views_of_the_image():
    image = np.arange(60 * 40 * 3, dtype=np.uint16).reshape(60, 40, 3).astype(np.uint8)
    tiling = Tiling(60, 40, 3, 2)
    tiles = list(tiling.cut(image))
    for tile, (x0, y0, x1, y1) in zip(tiles, tiling.boxes_xyxy.tolist(), strict=True):
        assert np.shares_memory(tile, image)
        assert np.array_equal(tile, image[y0:y1, x0:x1])


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((1056, 816), (1, 1)),
        ((3508, 2480), (1, 1)),  # A4 at 300 dpi
        ((7016, 4960), (1, 1)),  # at 600 dpi
        ((1000, 1800), (1, 1)),
        ((3 * 792, 612), (3, 1)),
        ((612, 3 * 792), (1, 3)),
        ((7000, 7100), (1, 2)),
        ((15_000, 15_000), (3, 4)),
        ((100, 100), (1, 1)),
    ],
)
def test_auto_cuts_what_is_too_long_or_too_large(size, grid):
    tiling = Tiling.of(*size, "auto", CONFIG)
    assert (tiling.rows, tiling.columns) == grid


@pytest.mark.parametrize("name", ["pages-small", "detr-r50"])
@pytest.mark.parametrize("size", [(9000, 5000), (700, 9000), (4000, 1000), (12_000, 7000)])
def test_tiles_of_auto_suit_the_model(name, size):
    config = named_config(name)
    short, long = sorted(Tiling.of(*size, "auto", config).tile_size)
    assert long / short <= config.longest_side / config.shortest_side
    assert short <= MAX_REDUCTION * config.shortest_side


def test_auto_makes_no_more_tiles_than_allowed():
    strip = Tiling.of(100_000, 10, "auto", CONFIG, most=6)
    assert (strip.rows, strip.columns) == (6, 1)
    assert len(Tiling.of(100_000, 100_000, "auto", CONFIG, most=4)) <= 4
    assert len(Tiling.of(5000, 10, "auto", CONFIG, most=1)) == 1


def test_auto_needs_no_resizing_by_sides():
    config = replace(CONFIG, resizing=Resizing("exact", (300, 400)))
    assert len(Tiling.of(3000, 500, "auto", config)) > 1
