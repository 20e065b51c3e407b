"""ResNet feature maps, with batch norm that folds into the convolutions for inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.config import BackboneConfig
from models.detr.frozen_batch_norm import FrozenBatchNorm2d, NormLayer
from models.detr.residual import BLOCKS, convolve_relu


class ResNetBody(nn.Module):
    """Residual blocks at any width and depth; parameter names are those of torchvision's ResNet."""

    def __init__(self, config: BackboneConfig, norm: NormLayer) -> None:
        super().__init__()
        block = BLOCKS[config.block]
        entry = config.entry_channels
        self.conv0 = nn.Conv2d(3, entry, 4, stride=2, padding=1) if entry else None
        self.conv1 = nn.Conv2d(entry or 3, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(config.width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = len(config.blocks)
        channels = config.width
        for stage, blocks in enumerate(config.blocks):
            planes = config.width * 2**stage
            dilated = config.dilation and stage == self.stages - 1
            stride = 1 if stage == 0 or dilated else 2
            layer = []
            for i in range(blocks):
                out = planes * block.expansion
                shortcut = None
                if i == 0 and (stride > 1 or channels != out):
                    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), norm(out))
                dilation = 2 if dilated and i > 0 else 1
                layer.append(block(channels, planes, stride if i == 0 else 1, shortcut, dilation, norm))
                channels = out
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[b, 3, h, w] to the maps of the entry, if any, of the stem and of every stage.

        The first map has stride 2, the second stride 4; the last one is [b, channels, ceil(h / stride),
        ceil(w / stride)].
        """
        maps = []
        x = images
        if self.conv0 is not None:
            x = convolve_relu(self.conv0, nn.Identity(), of_even_sides(images))
            maps.append(x)
        maps.append(convolve_relu(self.conv1, self.bn1, x))
        x = self.maxpool(maps[-1])
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            maps.append(x)
        return tuple(maps)


def of_even_sides(images: Tensor) -> Tensor:
    """Images [b, 3, h, w] with a row or column of zeros after the last where their number is odd."""
    height, width = images.shape[-2:]
    return pad(images, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else images


class Backbone(nn.Module):
    """Holds the body where published checkpoints have it (`backbone.0.body`)."""

    def __init__(self, config: BackboneConfig, norm: NormLayer = FrozenBatchNorm2d) -> None:
        super().__init__()
        self.body = ResNetBody(config, norm)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[b, 3, h, w] to the maps of entry, stem and stages.

        The last one is [b, channels, ceil(h / stride), ceil(w / stride)].
        """
        maps: tuple[Tensor, ...] = self.body(images.contiguous(memory_format=torch.channels_last))
        return maps


def fold_batch_norms(module: nn.Module) -> None:
    """Fold every batch norm into the convolution before it, in place; the module then only serves inference.

    Pairs are found by torchvision's names: conv1/bn1, conv2/bn2, conv3/bn3 and downsample.0/downsample.1.
    """
    for parent in list(module.modules()):
        children = dict(parent.named_children())
        for name, child in children.items():
            partner = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"}.get(name)
            if partner in children and isinstance(child, nn.Conv2d):
                setattr(parent, name, _folded(child, children[partner]))
                setattr(parent, partner, nn.Identity())
            elif name == "downsample" and isinstance(child, nn.Sequential) and len(child) == 2:
                setattr(parent, name, _folded(child[0], child[1]))


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d):
        raise TypeError(f"expected a convolution and its batch norm, not {type(conv)} and {type(norm)}")
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm without running statistics cannot be folded")
    weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    folded.weight, folded.bias = weight, bias
    return folded
