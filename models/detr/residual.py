"""Residual blocks of ResNet (arXiv 1512.03385) with the parameter names of torchvision's, and what runs them fast.

torchvision's own would do, but importing it takes as long as all else that the service imports. On a CPU, folded
blocks in float32 run oneDNN's convolutions with what follows them: one pass over memory instead of two or three.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from models.detr.frozen_batch_norm import NormLayer


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut: channels `planes`."""

    expansion = 1

    def __init__(
        self,
        channels: int,
        planes: int,
        stride: int,
        downsample: nn.Module | None,
        dilation: int,
        norm: NormLayer,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, dilation, dilation, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False)
        self.bn2 = norm(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[b, channels, h, w] to [b, planes, ceil(h / stride), ceil(w / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return convolve_add_relu(self.conv2, self.bn2, convolve_relu(self.conv1, self.bn1, x), shortcut)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, beside a shortcut: channels 4 * `planes`. The 3 x 3 has the stride."""

    expansion = 4

    def __init__(
        self,
        channels: int,
        planes: int,
        stride: int,
        downsample: nn.Module | None,
        dilation: int,
        norm: NormLayer,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=False)
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = norm(planes * self.expansion)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """[b, channels, h, w] to [b, 4 * planes, ceil(h / stride), ceil(w / stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = convolve_relu(self.conv2, self.bn2, convolve_relu(self.conv1, self.bn1, x))
        return convolve_add_relu(self.conv3, self.bn3, inner, shortcut)


def convolve_relu(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """relu(norm(conv(x)))."""
    if fuses(conv, norm, x):
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(x, *_arguments(conv), "relu", [], "")
        return fused
    return relu(norm(conv(x)))


def convolve_add_relu(conv: nn.Conv2d, norm: nn.Module, x: Tensor, shortcut: Tensor) -> Tensor:
    """relu(norm(conv(x)) + shortcut)."""
    if fuses(conv, norm, x):
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, shortcut, *_arguments(conv), "add", 1.0, "relu", [], ""
        )
        return fused
    return relu(norm(conv(x)) + shortcut)


def fuses(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> bool:
    """Whether oneDNN runs this convolution with what follows: float32 on a CPU, norm folded, no gradient wanted.

    The operators are those that PyTorch's compiler emits; where a release has none, nothing fuses.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == conv.weight.dtype == torch.float32
        and isinstance(norm, nn.Identity)
        and torch.is_inference_mode_enabled()
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and type(x) is Tensor
    )


_Arguments = tuple[Tensor, Tensor | None, list[int], list[int], list[int], int]


def _arguments(conv: nn.Conv2d) -> _Arguments:
    padding = conv.padding if isinstance(conv.padding, tuple) else (0, 0)
    return conv.weight, conv.bias, list(padding), list(conv.stride), list(conv.dilation), conv.groups


BLOCKS: dict[Literal["basic", "bottleneck"], type[BasicBlock] | type[Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}
