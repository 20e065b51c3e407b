"""Engines that run transformers' network outside of PyTorch: ONNX Runtime and OpenVINO, on a CPU.

A network is exported for the shape of the first batch that it gets, and once more for each other shape. Both engines
compute with as many threads of their own as PyTorch has, and answer one batch at a time.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.benchmarks.workload import Engine, Unavailable, Workload
from models.export.engines import import_openvino, onnxruntime_session, openvino_request
from models.preprocess import PreparedImage, normalise

INSTALL: Final = "pip install '.[bench]'"
Shape = tuple[int, ...]
Compiled = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From normalised pixels in float32 to logits and boxes_cxcywh."""


class _Network(nn.Module):
    """transformers' model with tensors for outputs, as exporters want them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and boxes_cxcywh."""
        output = self.model(pixel_values=pixels)
        return output.logits, output.pred_boxes


def onnxruntime_engine(work: Workload) -> list[Engine]:
    """ONNX Runtime on the network that `torch.onnx` exports; in float32 only. Raises Unavailable."""
    network = _network_for_cpu(work)
    if work.precision != "fp32":
        raise Unavailable("ONNX Runtime has no convolutions in bfloat16 for a CPU")
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed: {INSTALL}") from error

    def compiled(shape: Shape) -> Compiled:
        with tempfile.TemporaryDirectory(prefix="act-detr-onnx-") as folder:
            file = Path(folder, "detr.onnx")
            torch.onnx.export(network, (torch.zeros(shape),), file, dynamo=True, verbose=False)
            session = onnxruntime_session(file)
        (pixels_input,) = session.get_inputs()

        def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
            logits, boxes = session.run(None, {pixels_input.name: pixels.numpy()})
            return torch.from_numpy(logits), torch.from_numpy(boxes)

        return run

    return [_engine("ONNX Runtime", work, compiled)]


def openvino_engine(work: Workload) -> list[Engine]:
    """OpenVINO on the network that it converts from PyTorch, tuned for latency. Raises Unavailable."""
    network = _network_for_cpu(work)
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed: {INSTALL}") from error

    def compiled(shape: Shape) -> Compiled:
        converted = openvino.convert_model(network, input=[list(shape)], example_input=torch.zeros(shape))
        request = openvino_request(converted, {"fp32": "f32", "bf16": "bf16"}[work.precision])

        def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
            results = request.infer([pixels.numpy()])
            return torch.from_numpy(results[0].copy()), torch.from_numpy(results[1].copy())

        return run

    return [_engine("OpenVINO", work, compiled)]


def _network_for_cpu(work: Workload) -> _Network:
    if work.theirs is None:
        raise Unavailable(f"transformers has no model like {work.ours.config.name}")
    if work.device.type != "cpu":
        raise Unavailable("it is compared on a CPU only")
    return _Network(copy.deepcopy(work.theirs)).eval()


def _engine(name: str, work: Workload, compiled: Callable[[Shape], Compiled]) -> Engine:
    """Return an engine that normalises, runs the network for the batch's shape, and post-processes as transformers."""
    from transformers import DetrImageProcessor

    processor, compiled_once = DetrImageProcessor(), cache(compiled)

    @torch.inference_mode()
    def outputs(images: Sequence[PreparedImage]) -> tuple[Tensor, Tensor]:
        pixels = normalise(torch.stack([image.pixels for image in images]), work.ours.config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exporters warn of what is constant for one shape
            run = compiled_once(tuple(pixels.shape))
        return run(pixels)

    def detect(images: Sequence[PreparedImage]) -> Any:
        logits, boxes = outputs(images)
        sizes = [(image.original_height, image.original_width) for image in images]
        return processor.post_process_object_detection(_Outputs(logits, boxes), threshold=0.0, target_sizes=sizes)

    return Engine(name, detect, outputs)


class _Outputs:
    """What transformers' post-processing reads."""

    def __init__(self, logits: Tensor, boxes_cxcywh: Tensor) -> None:
        self.logits = logits
        self.pred_boxes = boxes_cxcywh
