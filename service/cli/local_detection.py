"""Detection in files by a detector of this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.detector import Detector
from service.cli.console import exit_on_error, load
from service.cli.detection_source import DetectionSource
from service.client import FileOutcome
from service.client.options import checked_query
from service.detection_options import DetectionDefaults, DetectionOptions, resolve_options
from service.errors import ServiceError
from service.http.schemas import DetectionResult
from service.images.drawing import draw_detections
from service.images.image_decoding import decode_file
from service.pipeline import encoded_masks, predict, prepare
from service.result_formats.categories import category_ids
from service.settings import Settings
from service.telemetry.request_record import DetectedImage, Stopwatch, now


def local_source(model: str, device: str, cache_dir: Path | None, given: Mapping[str, Any]) -> DetectionSource:
    """Load a detector. The settings' own defaults hold, whatever the environment says. Raises BadParameter."""
    with exit_on_error(1):
        detector = load(model, device, cache_dir)
    defaults = DetectionDefaults.of(Settings.model_construct(), detector)
    options = resolve_options(checked_query(given), defaults, 0.0)
    if options.attention is None:
        detector.measure_attention(cache_dir)

    def outcomes(files: Sequence[Path], drawn: bool) -> Iterator[FileOutcome]:
        for file in files:
            try:
                yield detect_file(detector, file, options, drawn=drawn)
            except (ServiceError, OSError) as error:
                yield FileOutcome(file, error=error)

    return DetectionSource(detector.name, category_ids(detector.config.labels), outcomes)


def detect_file(detector: Detector, file: Path, options: DetectionOptions, *, drawn: bool = False) -> FileOutcome:
    """Return what `/detect` answers for an image file, with the picture if it is to be `drawn`.

    Raises ServiceError and OSError.
    """
    started, stopwatch = now(), Stopwatch()
    with stopwatch.stage("decode"):
        pixels = decode_file(file)
    with stopwatch.stage("preprocess"):
        prepared = prepare(detector, pixels, options)
    stopwatch.seconds["queue"] = 0.0
    with stopwatch.stage("inference"):
        predictions = [predict(detector, [task], task.attention)[0] for task in prepared.tasks]
    with stopwatch.stage("postprocess"):
        prediction, detections = prepared.merged(predictions, options)
        masks = encoded_masks(detections, options)
    image = DetectedImage(
        prediction, detections, prepared.tiling, prepared.resized, 1, stopwatch, prepared.tasks[0].reason, masks=masks
    )
    result = DetectionResult.of(image, now() - started, detector.name)
    labels, outlines = tuple(detector.labels), detections.masks or ()
    picture = draw_detections(pixels, detections, labels, outlines) if drawn else None
    return FileOutcome(file, result, drawn=picture)
