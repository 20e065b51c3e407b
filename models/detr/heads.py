"""The box head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu


class BoxHead(nn.Module):
    """Three linear layers and a sigmoid: (cx, cy, w, h) in 0..1, relative to the image."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList((nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, 4)))

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] to boxes_cxcywh [..., 4]."""
        x = relu(self.layers[0](x))
        x = relu(self.layers[1](x))
        boxes: Tensor = self.layers[2](x).sigmoid()
        return boxes
