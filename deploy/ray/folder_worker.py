"""The actor that detects in a shard of a folder's images: one process with a detector of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from deploy.ray.folder_results import ShardResult
from models.allocator import keep_freed_memory
from models.detector import DeviceOutOfMemory, load_detector
from service.cli.console import error_text
from service.cli.local_detection import detect_file
from service.cpu_threads import compute_with
from service.detection_options import DetectionDefaults, DetectQuery, resolve_options
from service.errors import ServiceError
from service.settings import Settings

OF_A_REQUEST: Final = {"timing_ms", "batch_size", "rung"}
"""What an answer of `/detect` has that says nothing of the image."""


class FolderWorker:
    """A detector that computes with `threads` threads of its own, whatever else runs on its machine.

    Ray makes it an actor with as many of the cluster's CPUs. `query` has parameters of `/detect`.
    """

    def __init__(self, model: str, device: str, threads: int, query: DetectQuery) -> None:
        self._model, self._device, self._threads, self._query = model, device, threads, query

    def load(self) -> int:
        """Load the model, before anything else: Ray passes on what a method raises, but not what `__init__` does.

        Returns the number of threads. Raises what `load_detector` raises, and BadParameter for a query that the model
        does not take.
        """
        compute_with(self._threads)  # Ray calls every method in one thread
        keep_freed_memory()
        self._detector = load_detector(self._model, device=self._device)
        defaults = DetectionDefaults.of(Settings.model_construct(), self._detector)
        self._options = resolve_options(self._query, defaults, 0.0)
        if self._options.attention is None:
            self._detector.measure_attention()
        return torch.get_num_threads()

    def detect(self, folder: str, names: Sequence[str]) -> ShardResult:
        """Detect in files of a folder, which has the same path on every machine."""
        lines, failures = [], {}
        for name in names:
            try:
                result = detect_file(self._detector, Path(folder, name), self._options).unwrap()
            except (ServiceError, OSError, DeviceOutOfMemory) as error:
                failures[name] = error_text(error)
            else:
                answer = result.model_dump(exclude=OF_A_REQUEST)
                lines.append(json.dumps({"file": name} | answer, ensure_ascii=False))
        return ShardResult(lines, failures)
