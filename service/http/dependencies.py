"""The parts that the routes work with, in one object on the app's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from models.detector import Detector
from service.detection_options import DetectionDefaults
from service.pipeline import Pipeline
from service.readiness import Readiness
from service.scheduling.admission import Admission
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import RequestRecord


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running app: `app.state.service`."""

    settings: Settings
    detector: Detector
    defaults: DetectionDefaults
    metrics: Metrics
    pipeline: Pipeline
    readiness: Readiness
    admission: Admission


async def _service(request: Request) -> Service:  # a coroutine: FastAPI runs plain functions on threads
    service: Service = request.app.state.service
    return service


async def _record(request: Request) -> RequestRecord:
    record: RequestRecord = request.state.record
    return record


ServiceOfApp = Annotated[Service, Depends(_service)]
RecordOfRequest = Annotated[RequestRecord, Depends(_record)]
