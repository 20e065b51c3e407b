"""ONNX Runtime and OpenVINO: how a graph becomes their file, and how they run it on a CPU.

Their packages are optional, and imported only where they are used.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from models.export.graph import INPUT, OUTPUTS

Arrays = dict[str, NDArray[Any]]
ONNX: Final = "model.onnx"
OPENVINO: Final = "model.xml"
RT_INFO: Final = "act_detr"
"""Under this name OpenVINO's files have what ONNX files have in their metadata."""


def write_onnx(program: ExportedProgram, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write a graph as one ONNX file. The metadata's values are JSON."""
    with _quiet():
        made = torch.onnx.export(
            program, (), dynamo=True, verbose=False, input_names=[INPUT], output_names=list(OUTPUTS)
        )
    if made is None:
        raise RuntimeError("torch.onnx made no program")
    for name, value in metadata.items():
        made.model.metadata_props[name] = json.dumps(value, ensure_ascii=False)
    made.save(folder / ONNX)


def run_onnx(folder: Path, image: NDArray[np.uint8]) -> Arrays:
    """Run a folder's ONNX file by ONNX Runtime on an image [1, h, w, 3]: its outputs by name."""
    results = onnxruntime_session(folder / ONNX).run(list(OUTPUTS), {INPUT: image})
    return dict(zip(OUTPUTS, results, strict=True))


def write_openvino(program: ExportedProgram, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write a graph as OpenVINO's two files, with float32 weights. The metadata's values are JSON."""
    openvino = import_openvino()
    with _quiet():
        model = openvino.convert_model(program)
    model.reshape(list(_shape(program)))  # the converter leaves it open
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    for name, value in metadata.items():
        model.set_rt_info(json.dumps(value, ensure_ascii=False), [RT_INFO, name])
    openvino.save_model(model, folder / OPENVINO, compress_to_fp16=False)


def _shape(program: ExportedProgram) -> tuple[int, ...]:
    """Shape of a program's image."""
    ((image,), _) = program.example_inputs
    return tuple(image.shape)


def run_openvino(folder: Path, image: NDArray[np.uint8]) -> Arrays:
    """Run a folder's OpenVINO files in float32 on an image [1, h, w, 3]: their outputs by name."""
    request = openvino_request(import_openvino().Core().read_model(folder / OPENVINO), "f32")
    results = request.infer({INPUT: image})
    return {name: np.array(results[name]) for name in OUTPUTS}


def onnxruntime_session(file: Path) -> Any:
    """Open an ONNX file for a CPU, with as many threads as PyTorch has. Raises ImportError without ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def openvino_request(model: Any, precision: str) -> Any:
    """Compile a model of OpenVINO for a CPU, tuned for latency, with as many threads as PyTorch has.

    `precision` is f32 or bf16: by default OpenVINO takes the narrower where the CPU has it. Raises ImportError.
    """
    hints = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    return import_openvino().compile_model(model, "CPU", hints).create_infer_request()


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which would tell its makers of each use. Raises ImportError."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if not installed
    import openvino

    return openvino


@contextmanager
def _quiet() -> Iterator[None]:
    """Without exporters' warnings of what is constant for one shape."""
    log = logging.getLogger("torch.onnx")
    others = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [one.level for one in (log, *others)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in (log, *others):
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip((log, *others), levels, strict=True):
                one.setLevel(level)
