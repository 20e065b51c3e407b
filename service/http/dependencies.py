"""The parts that the routes work with, in one object on the app's state, and the record of a request.

They are read with plain calls: each dependency that FastAPI resolves costs a tenth of a millisecond.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fastapi import Request

from models.detector import Detector
from service.degradation import Degradation
from service.detection_options import DetectionDefaults
from service.errors import BadParameter
from service.explanation import Explainer
from service.pipeline import Pipeline
from service.readiness import Readiness
from service.scheduling.admission import Admission
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import RequestRecord


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running app: `app.state.service`. `degradation` is None without a target."""

    settings: Settings
    detector: Detector
    defaults: DetectionDefaults
    metrics: Metrics
    pipeline: Pipeline
    explainer: Explainer
    readiness: Readiness
    admission: Admission
    degradation: Degradation | None


def service_of(request: Request) -> Service:
    """The parts that this request's app works with."""
    service: Service = request.app.state.service
    return service


def record_of(request: Request) -> RequestRecord:
    """The record of this request."""
    record: RequestRecord = request.state.record
    return record


def refuse_repeats(request: Request) -> None:
    """Refuse a parameter that is given more than once. Raises BadParameter."""
    counts = Counter(name for name, _ in request.query_params.multi_items() if name not in ("labels", "image_id"))
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise BadParameter(f"{repeated[0][:100]}: given more than once", parameter=repeated[0][:100])
