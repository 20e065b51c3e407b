"""Means of cells of strips, against torchvision's roi_align and by hand."""

import pytest
import torch
from torchvision.ops import roi_align

from models.detr.roi_means import Taps, roi_means, taps

HEIGHT, WIDTH = 9, 13


def cells(maps, images, boxes_xyxy, rows, columns, samples):
    """Means of boxes [n, 4], in positions of the maps, cut into rows and columns: [n, channels, rows, columns]."""
    x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
    height, width = (torch.tensor(extent).expand(len(boxes_xyxy)) for extent in maps.shape[-2:])
    down, across = taps(y0, y1, rows, samples, height), taps(x0, x1, columns, samples, width)
    down = Taps(down.index * maps.shape[-1], down.weight)
    return roi_means(maps, images * maps.shape[-2:].numel(), down, across).permute(0, 3, 1, 2)


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_roi_align(samples, layout):
    """In boxes inside of the map, over its edges, outside of it, and without extent."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 5, HEIGHT, WIDTH, generator=generator, dtype=torch.float64).contiguous(memory_format=layout)
    low = torch.rand(40, 2, generator=generator, dtype=torch.float64) * 20 - 5
    boxes = torch.cat((low, low + 12 * torch.rand(40, 2, generator=generator, dtype=torch.float64)), -1)
    boxes[0, 2:] = boxes[0, :2]
    images = torch.arange(40) % 2
    rois = torch.cat((images[:, None].double(), boxes), -1)
    expected = roi_align(maps, rois, (3, 4), 1.0, sampling_ratio=samples, aligned=True)
    torch.testing.assert_close(cells(maps, images, boxes, 3, 4, samples), expected, rtol=1e-10, atol=1e-12)
    assert (expected == 0).any()
    assert (expected != 0).any()


def test_a_strip_may_run_backwards():
    maps = torch.randn(1, 2, HEIGHT, WIDTH, dtype=torch.float64)
    box, image = torch.tensor([[2.0, 1.0, 9.0, 7.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    forwards = cells(maps, image, box, 2, 6, 2)
    backwards = cells(maps, image, box[:, [2, 1, 0, 3]], 2, 6, 2)
    torch.testing.assert_close(backwards, forwards.flip(-1), rtol=1e-10, atol=1e-12)


def test_no_strips_have_no_means():
    assert cells(
        torch.randn(1, 2, HEIGHT, WIDTH), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4), 2, 3, 1
    ).shape == (*(0, 2, 2, 3),)


def test_gradients_reach_the_maps():
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    boxes, image = torch.tensor([[0.5, -1.0, 4.0, 3.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    assert torch.autograd.gradcheck(lambda x: cells(x, image, boxes, 2, 2, 2), (maps,))
