"""The whole network as one module of tensors, for exporters: from an image's bytes to boxes, scores and labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from models.attention.factory import make_attention, make_merging
from models.attention_config import AttentionConfig
from models.boxes import cxcywh_to_xyxy
from models.detr.detr import Detr
from models.export.errors import CannotExport
from models.export.suppression import kept
from models.images import ImageBatch

INPUT: Final = "image"
OUTPUTS: Final = ("boxes", "scores", "labels", "keep")


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """What a graph fixes.

    `height` and `width` of the resized image in pixels; the encoder's `attention`; `nms` above 0 and at most 1, the IoU
    limit by which `keep` is decided, None to keep every box. Raises CannotExport for what no graph can hold.
    """

    height: int
    width: int
    attention: AttentionConfig
    nms: float | None

    def __post_init__(self) -> None:
        if self.attention.mode == "act":
            raise CannotExport(
                "ACT cannot be exported as a graph: how many clusters it makes, and so the shapes inside, follow from "
                "the image. exact, tangent and kmeans can: tangent, with as many clusters, is also more accurate"
            )
        if min(self.height, self.width) < 1:
            raise CannotExport(f"height {self.height} and width {self.width} must be pixels, 1 or more")
        if self.nms is not None and not 0 < self.nms <= 1:
            raise CannotExport(f"nms {self.nms} must be above 0 and at most 1")


class DetectionGraph(nn.Module):
    """A model with its normalisation, attention, box refinement and suppression, for images of one size.

    `detr` is a network that is ready to run, as `models.detector.Detector` holds it.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    named: Tensor

    def __init__(self, detr: Detr, settings: GraphSettings) -> None:
        super().__init__()
        self.detr = detr
        self.settings = settings
        self.attention = make_attention(settings.attention.in_layers)
        self.merging = make_merging(settings.attention)
        config = detr.config
        self.register_buffer("pixel_mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(config.std).view(1, 3, 1, 1))
        self.register_buffer("named", torch.tensor([label is not None for label in config.labels]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Detect in `image`, uint8 RGB [B, height, width, 3].

        Returns `boxes` float32 [B, Q, 4] (xmin, ymin, xmax, ymax) in 0..1 of the image; `scores` float32 [B, Q] in
        0..1; `labels` int64 [B, Q], each query's best class; `keep` bool [B, Q], False for duplicates of a better box
        and for classes without a name.
        """
        logits, boxes_cxcywh = self.raw(image)
        scores, labels = logits.softmax(-1)[..., :-1].max(-1)
        boxes = cxcywh_to_xyxy(boxes_cxcywh).clamp(0, 1)
        keep = self.named[labels]
        if self.settings.nms is not None:
            keep = keep & kept(boxes, scores, labels, self.settings.nms)
        return boxes, scores, labels, keep

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, Q, classes + 1] and boxes_cxcywh [B, Q, 4] in 0..1 of such an image."""
        pixels = (image.permute(0, 3, 1, 2).float() / 255 - self.pixel_mean) / self.pixel_std
        batch = ImageBatch((pixels,), tuple(range(len(image))))
        output = self.detr(batch, self.attention, merging=self.merging)
        return output.logits, output.boxes_cxcywh


def exported_program(graph: DetectionGraph) -> ExportedProgram:
    """Trace a graph for one image of its size.

    It runs once before: position encodings and token grids are then at hand, and become constants.
    """
    image = torch.zeros(1, graph.settings.height, graph.settings.width, 3, dtype=torch.uint8)
    with torch.no_grad():
        graph(image)
    contiguous = copy.deepcopy(graph).to(memory_format=torch.contiguous_format)  # exporters know no other order
    with torch.enable_grad():  # without, tangent attention writes into memory that it keeps, which no exporter knows
        return torch.export.export(contiguous, (image,))
