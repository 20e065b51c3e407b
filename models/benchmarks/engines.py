"""The engines that `models.benchmarks.throughput` compares: each runs the same weights on the same images.

To add one, write a function like `transformers_engine` and enter it in `ENGINES`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from models.attention_config import AttentionConfig
from models.benchmarks.exported_engines import onnxruntime_engine, openvino_engine
from models.benchmarks.workload import Engine, Unavailable, Workload, float_cpu
from models.detector import Detector
from models.preprocess import PreparedImage, normalise


def our_engines(work: Workload) -> list[Engine]:
    """This repository's `Detector`, one engine for each attention."""
    detector = Detector(copy.deepcopy(work.ours), str(work.device), work.precision)

    def outputs(attention: AttentionConfig, images: Sequence[PreparedImage]) -> tuple[Tensor, Tensor]:
        each = [detector.outputs([image], attention) for image in images]
        return float_cpu([one.logits for one in each]), float_cpu([one.boxes_cxcywh for one in each])

    def detect(attention: AttentionConfig, images: Sequence[PreparedImage]) -> object:
        return detector.predict(images, attention)

    return [
        Engine(f"ours, {attention}", partial(detect, attention), partial(outputs, attention))
        for attention in work.attentions
    ]


def transformers_engine(work: Workload) -> list[Engine]:
    """`DetrForObjectDetection` and its own post-processing, as its documentation runs them."""
    if work.theirs is None:
        raise Unavailable(f"transformers has no model like {work.ours.config.name}")
    from transformers import DetrImageProcessor

    model = copy.deepcopy(work.theirs).to(work.device, work.dtype)
    processor = DetrImageProcessor()

    @torch.inference_mode()
    def forward(images: Sequence[PreparedImage]) -> Any:
        pixels = torch.stack([image.pixels.to(work.device, non_blocking=True) for image in images])
        return model(pixel_values=normalise(pixels, work.ours.config).to(work.dtype))

    def outputs(images: Sequence[PreparedImage]) -> tuple[Tensor, Tensor]:
        output = forward(images)
        return output.logits.float().cpu(), output.pred_boxes.float().cpu()

    def detect(images: Sequence[PreparedImage]) -> object:
        sizes = [(image.original_height, image.original_width) for image in images]
        found = processor.post_process_object_detection(forward(images), threshold=0.0, target_sizes=sizes)
        return [{name: values.cpu() for name, values in one.items()} for one in found]

    return [Engine("transformers", detect, outputs)]


ENGINES: Final[dict[str, Callable[[Workload], list[Engine]]]] = {
    "ours": our_engines,
    "transformers": transformers_engine,
    "onnxruntime": onnxruntime_engine,
    "openvino": openvino_engine,
}
"""By the name that `--engines` takes. Each makes one engine or more, or raises Unavailable."""
