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

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu
from torchvision.ops import roi_align

from models.config import BackboneConfig, BoxRefinementConfig, DetrConfig
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
        stem, *stages = map_channels(config.backbone)
        self.least_score = own.least_score
        self.fine = nn.Conv2d(stem, own.fine_channels, 1)
        self.coarse = nn.ModuleList(nn.Conv2d(channels, own.coarse_channels, 1) for channels in stages)
        self.stages = nn.ModuleList(
            RefinementStage(own, config.hidden_dim, share, pixels) for share, pixels in own.reaches
        )

    def pyramid(self, maps: Sequence[Tensor], height: int, width: int) -> Pyramid:
        """Make the maps that sides are located in from a backbone's (`ResNetBody`), of images of this size."""
        stem, first, *deeper = maps
        coarse = self.coarse[0](first)
        for convolution, stage in zip(self.coarse[1:], deeper, strict=True):
            coarse = coarse + interpolate(convolution(stage), size=first.shape[-2:], mode="bilinear")
        fine = relu(self.fine(stem))
        return Pyramid(at_least_float32(fine).contiguous(), at_least_float32(relu(coarse)).contiguous(), height, width)

    def forward(self, queries: Tensor, boxes_xyxy: Tensor, images: Tensor, pyramid: Pyramid) -> list[Refined]:
        """Refine n boxes stage by stage; the last stage's are the result.

        `queries` [n, d] is the decoder's output; `boxes_xyxy` [n, 4] in pixels of the resized images; `images` int64
        [n] says which image of the pyramid a box is of. Boxes come back as float32, inside the image, and each stage
        learns by itself: no gradient passes from one to the one before.
        """
        limits = torch.tensor((pyramid.width, pyramid.height) * 2, dtype=torch.float32, device=boxes_xyxy.device)
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
        profiles = self.profiles(boxes_xyxy, reach, images, pyramid).to(queries.dtype)
        x = self.first(profiles.flatten(0, 2)) + self.query(queries).view(-1, self.hidden_dim, 1)
        logits = at_least_float32(self.place(relu(self.second(relu(x))))).view(-1, 2, 2, self.bins)
        inwards = (logits.softmax(-1) * bin_centres(self.bins, logits.device)).sum(-1) * reach[:, None]
        return Refined(torch.cat((low + inwards[:, 0], high - inwards[:, 1]), -1), logits, reach)

    def profiles(self, boxes_xyxy: Tensor, reach: Tensor, images: Tensor, pyramid: Pyramid) -> Tensor:
        """Features across every side, from outside to inside: float32 [n, 2, 2, 2 * channels, bins].

        Means and maxima along the side, of (xmin, ymin) and (xmax, ymax).
        """
        x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
        dx, dy = reach.unbind(-1)
        upright = [torch.stack((x - dx, y0, x + dx, y1), -1) for x in (x0, x1)]
        level = [torch.stack((x0, y - dy, x1, y + dy), -1) for y in (y0, y1)]
        across_x = _read(pyramid, torch.cat(upright), images, (self.bins_along, self.bins))
        across_y = _read(pyramid, torch.cat(level), images, (self.bins, self.bins_along)).transpose(2, 3)
        strips = torch.stack((across_x, across_y)).view(2, 2, len(boxes_xyxy), *across_x.shape[1:]).transpose(0, 1)
        profiles = torch.cat((strips.mean(-2), strips.amax(-2)), -2)
        low, high = profiles
        return torch.stack((low, high.flip(-1))).permute(2, 0, 1, 3, 4)


def bin_centres(bins: int, device: torch.device | None = None) -> Tensor:
    """Positions [bins] that a side may move to, in shares of its reach: from -1 outside to 1 inside."""
    return (torch.arange(bins, device=device) + 0.5) * (2 / bins) - 1


def map_channels(backbone: BackboneConfig) -> tuple[int, ...]:
    """Channels of the maps that a backbone gives, the stem's first."""
    expansion = 4 if backbone.block == "bottleneck" else 1
    return (backbone.width, *(backbone.width * 2**stage * expansion for stage in range(len(backbone.blocks))))


def _read(pyramid: Pyramid, strips_xyxy: Tensor, images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean features of the cells of strips [2n, 4] cut into rows and columns: [2n, channels, rows, columns]."""
    rois = torch.cat((images.repeat(2)[:, None].to(strips_xyxy), strips_xyxy), -1)
    fine = roi_align(pyramid.fine, rois, shape, 1 / FINE_STRIDE, sampling_ratio=2, aligned=True)
    coarse = roi_align(pyramid.coarse, rois, shape, 1 / COARSE_STRIDE, sampling_ratio=1, aligned=True)
    return torch.cat((fine, coarse), 1)


def _inside(boxes_xyxy: Tensor, limits: Tensor) -> Tensor:
    """Boxes the right way round and inside the image."""
    first, second = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    upright = torch.cat((torch.minimum(first, second), torch.maximum(first, second)), -1)
    return torch.minimum(upright.clamp(min=0), limits)
