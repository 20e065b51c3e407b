"""Box refinement: every side of a box is moved to where the backbone's fine feature maps have it.

A DETR reads boxes off a feature map of large stride, so their sides are off by a pixel or two: much for a thin box, and
more where attention is approximate. Here the features across each side are read once more, at strides 2 and 4, and say
where between the outside and the inside the side lies: a distribution over positions, whose mean is taken (side-aware
boundary localization, arXiv 1912.04260), narrower with every stage (Cascade R-CNN, arXiv 1712.00726). Nothing of it
depends on the encoder's attention but the boxes to start from and what the queries know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, linear, relu

from models.config import BackboneConfig, BoxRefinementConfig, DetrConfig
from models.detr.roi_means import Taps, roi_means, taps
from models.device import on_device
from models.precision import at_least_float32

FINE_STRIDE = 2
COARSE_STRIDE = 4
SIDES = 4


@dataclass(frozen=True, slots=True)
class Pyramid:
    """Feature maps that sides are located in, of b images of one size.

    `fine` float [b, fine_channels, h / 2, w / 2] and `coarse` float [b, coarse_channels, h / 4, w / 4], rounded up;
    `height` and `width` of the resized images in pixels.
    """

    fine: Tensor
    coarse: Tensor
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Refined:
    """Result of a stage for n boxes.

    `boxes_xyxy` [n, 4] and `reach` [n, 2] (x, y) in pixels of the resized image; `logits` [n, 2, 2, bins] are of the
    (xmin, ymin) and the (xmax, ymax) sides, over positions from `reach` outside to `reach` inside of the side's
    old one.
    """

    boxes_xyxy: Tensor
    logits: Tensor
    reach: Tensor


class BoxRefinement(nn.Module):
    """Feature maps to sides' profiles, and stages that each move all four sides of a box."""

    def __init__(self, config: DetrConfig) -> None:
        super().__init__()
        own = config.box_refinement or BoxRefinementConfig()
        first, *deeper = map_channels(config.resnet)
        self.least_score = own.least_score
        self.fine = nn.Conv2d(first, own.fine_channels, 1)
        self.coarse = nn.ModuleList(nn.Conv2d(channels, own.coarse_channels, 1) for channels in deeper)
        self.stages = nn.ModuleList(
            RefinementStage(own, config.hidden_dim, share, pixels) for share, pixels in own.reaches
        )

    def pyramid(self, maps: Sequence[Tensor], height: int, width: int) -> Pyramid:
        """Make the maps that sides are located in from a backbone's (`ResNetBody`), of images of this size."""
        first, second, *deeper = maps
        convolutions = cast("list[nn.Conv2d]", list(self.coarse))
        coarse = _pointwise(convolutions[0], second)
        for convolution, stage in zip(convolutions[1:], deeper, strict=True):
            coarse = coarse + interpolate(_pointwise(convolution, stage), size=second.shape[-2:], mode="bilinear")
        fine = relu(_pointwise(self.fine, first))
        return Pyramid(at_least_float32(fine), at_least_float32(relu(coarse)), height, width)

    def forward(self, queries: Tensor, boxes_xyxy: Tensor, images: Tensor, pyramid: Pyramid) -> list[Refined]:
        """Refine n boxes stage by stage; the last stage's are the result.

        `queries` [n, d] is the decoder's output; `boxes_xyxy` [n, 4] in pixels of the resized images; `images` int64
        [n] says which image of the pyramid a box is of. Boxes come back as float32, inside the image, and each stage
        learns by itself: no gradient passes from one to the one before.
        """
        limits = on_device((float(pyramid.width), float(pyramid.height)) * 2, boxes_xyxy.device).float()
        boxes = at_least_float32(boxes_xyxy)  # a side in bfloat16 is a pixel off, and `roi_align` knows no bfloat16
        refined = []
        for stage in self.stages:
            moved: Refined = stage(queries, boxes.detach(), images, pyramid)
            boxes = _inside(moved.boxes_xyxy, limits)
            refined.append(Refined(boxes, moved.logits, moved.reach))
        return refined


class RefinementStage(nn.Module):
    """Moves every side of a box within reach of where it is."""

    def __init__(self, config: BoxRefinementConfig, dim: int, share: float, pixels: float) -> None:
        super().__init__()
        channels = config.fine_channels + config.coarse_channels
        self.share, self.pixels = share, pixels
        self.bins, self.bins_along, self.hidden_dim = config.bins, config.bins_along, config.hidden_dim
        self.query = nn.Linear(dim, SIDES * config.hidden_dim)
        self.first = nn.Conv1d(2 * channels, config.hidden_dim, 3, padding=1)
        self.second = nn.Conv1d(config.hidden_dim, config.hidden_dim, 3, padding=1)
        self.place = nn.Conv1d(config.hidden_dim, 1, 3, padding=1)
        for parameter in self.place.parameters():
            nn.init.zeros_(parameter)  # at first every side stays where it is

    def forward(self, queries: Tensor, boxes_xyxy: Tensor, images: Tensor, pyramid: Pyramid) -> Refined:
        """Arguments as in `BoxRefinement.forward`. Boxes are float32, and their sides may have changed places."""
        low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
        reach = self.share * (high - low).clamp(min=0) + self.pixels
        profiles = self.profiles(boxes_xyxy, reach, images, pyramid).to(queries.dtype).flatten(0, 2)
        x = _across(self.first, profiles[:, :, None]) + self.query(queries).view(-1, self.hidden_dim, 1, 1)
        x = _across(self.place, relu(_across(self.second, relu(x))))
        logits = at_least_float32(x).view(-1, 2, 2, self.bins)
        inwards = (logits.softmax(-1) * bin_centres(self.bins, logits.device)).sum(-1) * reach[:, None]
        return Refined(torch.cat((low + inwards[:, 0], high - inwards[:, 1]), -1), logits, reach)

    def profiles(self, boxes_xyxy: Tensor, reach: Tensor, images: Tensor, pyramid: Pyramid) -> Tensor:
        """Features across every side, from outside to inside: float32 [n, 2, 2, 2 * channels, bins].

        Means and maxima along the side, of (xmin, ymin) and (xmax, ymax). Channels lie side by side in memory.
        """
        sides = boxes_xyxy.view(-1, 2, 2)  # low or high, x or y
        inwards = torch.stack((reach, -reach), 1)
        across = (sides - inwards, sides + inwards)
        along = tuple(ends.flip(-1)[:, None].expand_as(sides) for ends in (sides[:, 0], sides[:, 1]))
        (along_begin, along_end), (across_begin, across_end) = (
            (begin.reshape(-1), end.reshape(-1)) for begin, end in (along, across)
        )
        strips = _Strips(along_begin, along_end, across_begin, across_end, images.repeat_interleave(SIDES))
        fine = strips.read(pyramid.fine, FINE_STRIDE, 2, self.bins_along, self.bins)
        coarse = strips.read(pyramid.coarse, COARSE_STRIDE, 1, self.bins_along, self.bins)
        means_and_maxima = (fine.mean(1), coarse.mean(1), fine.amax(1), coarse.amax(1))
        profiles = torch.cat(means_and_maxima, -1)
        return profiles.view(*sides.shape, self.bins, profiles.shape[-1]).mT


@dataclass(frozen=True, slots=True)
class _Strips:
    """The strips along the four sides of n boxes, 4n in all: along a side and across it, in pixels; and their images.

    The sides of a box are xmin, ymin, xmax, ymax. Along xmin runs y, across it x.
    """

    along_begin: Tensor
    along_end: Tensor
    across_begin: Tensor
    across_end: Tensor
    images: Tensor

    def read(self, maps: Tensor, stride: int, samples: int, along: int, across: int) -> Tensor:
        """Mean features [4n, along, across, channels] of cells of maps [b, channels, h, w] at this stride."""
        height, width = maps.shape[-2:]
        upright = torch.arange(len(self.images), device=maps.device) % 2 == 0  # across x
        along_taps = self._taps(self.along_begin, self.along_end, along, samples, stride, ~upright, maps)
        across_taps = self._taps(self.across_begin, self.across_end, across, samples, stride, upright, maps)
        return roi_means(maps, self.images * (height * width), along_taps, across_taps)

    def _taps(
        self, begin: Tensor, end: Tensor, cells: int, samples: int, stride: int, is_x: Tensor, maps: Tensor
    ) -> Taps:
        """Taps of an axis that is x for some strips and y for the others, as offsets in the flattened map."""
        height, width = maps.shape[-2:]
        one_axis = taps(begin / stride, end / stride, cells, samples, torch.where(is_x, width, height))
        return Taps(one_axis.index * torch.where(is_x, 1, width)[:, None, None], one_axis.weight)


def bin_centres(bins: int, device: torch.device | None = None) -> Tensor:
    """Positions [bins] that a side may move to, in shares of its reach: from -1 outside to 1 inside."""
    return (torch.arange(bins, device=device) + 0.5) * (2 / bins) - 1


def map_channels(backbone: BackboneConfig) -> tuple[int, ...]:
    """Channels of the maps that a backbone gives: the entry's, if any, the stem's and the stages'."""
    expansion = 4 if backbone.block == "bottleneck" else 1
    stages = (backbone.width * 2**stage * expansion for stage in range(len(backbone.blocks)))
    return (*filter(None, (backbone.entry_channels,)), backbone.width, *stages)


def _pointwise(convolution: nn.Conv2d, maps: Tensor) -> Tensor:
    """Apply a 1 x 1 convolution to maps [b, channels, h, w]: on channels-last maps, a matrix product without a copy."""
    out: Tensor = linear(maps.permute(0, 2, 3, 1), convolution.weight.flatten(1), convolution.bias)
    return out.permute(0, 3, 1, 2)


def _across(convolution: nn.Conv1d, profiles: Tensor) -> Tensor:
    """Convolve profiles [m, channels, 1, bins] over their bins; in two dimensions: those can be channels-last."""
    return conv2d(profiles, convolution.weight[:, :, None], convolution.bias, padding=(0, 1))


def _inside(boxes_xyxy: Tensor, limits: Tensor) -> Tensor:
    """Boxes the right way round and inside the image."""
    first, second = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    upright = torch.cat((torch.minimum(first, second), torch.maximum(first, second)), -1)
    return torch.minimum(upright.clamp(min=0), limits)
