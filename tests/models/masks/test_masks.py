"""Masks at the size of their image, against torch's own interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from models.masks.masks import BELONGS, Masks


def by_torch(masks: Masks, height: int, width: int) -> torch.Tensor:
    cells = torch.from_numpy(masks.probabilities).double()
    return interpolate(cells[None], size=(height, width), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("seed", range(40))
def test_a_mask_is_torchs_interpolation_above_one_half(seed, some_masks):
    masks = some_masks(seed)
    expected = by_torch(masks, masks.height, masks.width)[0]
    sure = ((expected - BELONGS).abs() > 1e-4).numpy()  # float32: cells are at most 9, and shares of them exact to 1e-6
    mask = masks[0]
    assert mask.shape == (masks.height, masks.width)
    assert np.array_equal(mask[sure], expected.numpy()[sure] > BELONGS)
    assert sure.mean() > 0.9


def test_padding_is_no_part_of_an_image():
    cells = torch.rand((1, 6, 8), generator=torch.Generator().manual_seed(0)).numpy()
    whole = Masks(cells, (6.0, 8.0), 60, 80)
    shown = Masks(cells, (4.5, 5.0), 45, 50)
    assert np.array_equal(shown[0], whole[0][:45, :50])


def test_masks_can_be_selected():
    cells = np.stack([np.full((2, 2), value, np.float32) for value in (0.1, 0.9, 0.6)])
    masks = Masks(cells, (2.0, 2.0), 3, 4)
    assert [mask.all() for mask in masks] == [False, True, True]
    chosen = masks.at(np.array([2, 0]))
    assert len(chosen) == 2
    assert chosen[0].all()
    assert not chosen[1].any()
    assert len(masks.at(np.array([], np.int64))) == 0


def test_an_empty_mask_has_an_empty_cut():
    masks = Masks(np.full((1, 3, 3), BELONGS, np.float32), (3.0, 3.0), 10, 20)
    assert masks.cut(0).bitmap.size == 0
    assert masks[0].shape == (10, 20)
    assert not masks[0].any()


def test_a_cut_holds_little_more_than_the_mask():
    cells = np.zeros((1, 20, 20), np.float32)
    cells[0, 4, 7] = 1
    cut = Masks(cells, (20.0, 20.0), 200, 200).cut(0)
    assert cut.bitmap.any()
    assert max(cut.bitmap.shape) <= 20
    assert cut.whole().sum() == cut.bitmap.sum()
