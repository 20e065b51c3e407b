"""What every process that serves does first, whoever starts it: its log, its threads, its model."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from service.settings import Settings
from service.telemetry.request_log import configure_logging

if TYPE_CHECKING:
    from models.detector import Detector
    from models.weights.download import Progress


def configure_process(settings: Settings) -> None:
    """Set what is the whole process's: the log, Pillow's warnings, torch's threads."""
    import torch  # takes seconds

    configure_logging(settings.log_level, settings.log_format)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # it warns of callers' broken files, and of sizes
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def detector_of(settings: Settings, progress: Progress | None = None) -> Detector:
    """Load the model that the settings name. Raises what is wrong with it."""
    from models.detector import load_detector

    return load_detector(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        cache_dir=settings.cache_dir,
        progress=progress,
    )
