"""The application: its parts meet here. HTTP around a detector."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from models.config import AttentionConfig
from models.detections import Prediction
from models.detector import Detector, DeviceOutOfMemory
from service.errors import WorkerDead
from service.http import routes_detect, routes_status
from service.http.detection_options import Defaults
from service.http.head_requests import HeadAsGet
from service.http.middleware import RequestObserver, UnreadBody
from service.http.path_prefix import PathPrefix
from service.http.problems import install_error_handlers
from service.http.request_body import BodyLimits
from service.http.schemas import Problem
from service.pipeline import Pipeline, Task
from service.readiness import Admission, DeviceProbe, Readiness
from service.scheduling.batcher import BatchLimits
from service.scheduling.inference_worker import InferenceWorker
from service.settings import Settings
from service.telemetry.metrics import Metrics, WorkerMetrics
from service.telemetry.request_record import now

logger = logging.getLogger(__name__)

_DESCRIPTION = """Detects objects in images with a DETR whose encoder runs exact attention, ACT (adaptive
clustering) or tangent attention, chosen per request. Errors are `application/problem+json`; every answer has
an `x-request-id` and a `Server-Timing` header."""


def create_app(settings: Settings, detector: Detector) -> FastAPI:
    """Build the app. Its lifespan warms the detector up in the background, and drains at the end."""
    metrics = _metrics(detector, settings)
    worker = InferenceWorker[Task, Prediction](
        run_on(detector),
        limits=_batch_limits(settings, detector.device),
        max_queue=settings.max_queue,
        observer=WorkerMetrics(metrics),
        clock=now,
        is_out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
    )
    pipeline = Pipeline(
        detector,
        worker,
        metrics,
        threads=settings.preprocess_threads,
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
    )
    readiness = Readiness(lambda: worker.alive, DeviceProbe(detector.check))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        warming = asyncio.create_task(readiness.warm_up(detector.warm_up))
        yield
        readiness.drain()
        await warming
        await _drain(worker, settings.drain_seconds)
        pipeline.close()

    app = FastAPI(
        title="act-detr",
        version=routes_status.service_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings, app.state.detector, app.state.metrics = settings, detector, metrics
    app.state.pipeline, app.state.readiness = pipeline, readiness
    metrics.watch_readiness(lambda: readiness.refusal() is None)
    app.state.admission = Admission(readiness, worker, settings.max_inflight, metrics)
    app.state.api_keys, app.state.model_name = settings.api_keys, detector.name
    app.state.body_limits = _body_limits(settings)
    app.state.defaults = _defaults(settings, detector)
    app.include_router(routes_detect.router)
    app.include_router(routes_status.router)
    install_error_handlers(app)
    if settings.allowed_origins:
        _allow_origins(app, settings.allowed_origins)
    app.add_middleware(RequestObserver, metrics=metrics)
    app.add_middleware(UnreadBody)  # it lingers when all else is done
    app.add_middleware(HeadAsGet)  # around all that looks at the method: it sees a GET
    if settings.root_path:
        app.add_middleware(PathPrefix, prefix=settings.root_path)
    _document_problems(app)
    return app


def run_on(detector: Detector) -> Callable[[Sequence[Task], Any], Sequence[Prediction]]:
    """Return what the worker runs. When it fails, the device is asked whether it still works.

    The callable raises WorkerDead when it does not, and else what the detector raised.
    """

    def run(tasks: Sequence[Task], attention: AttentionConfig) -> Sequence[Prediction]:
        try:
            return detector.predict([task.image for task in tasks], attention, [task.threshold for task in tasks])
        except DeviceOutOfMemory:
            raise
        except Exception:
            try:
                detector.check()
            except RuntimeError as error:
                raise WorkerDead from error
            raise

    return run


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call. No cookies: the key is a header that the page itself must know."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-Id"),
        expose_headers=("Retry-After", "Server-Timing", "X-Request-Id"),
    )


def _metrics(detector: Detector, settings: Settings) -> Metrics:
    metrics = Metrics()
    facts = {
        "name": detector.name,
        "device": detector.device,
        "precision": detector.precision,
        "version": routes_status.service_version(),
    }
    metrics.describe_model(facts, detector.labels, detector.config.encoder_layers)
    metrics.describe_limits(settings.max_queue, detector.memory_limit_bytes())
    metrics.watch_device(detector.memory_bytes)
    return metrics


def _batch_limits(settings: Settings, device: str) -> BatchLimits:
    return BatchLimits(settings.batch_images(device), settings.max_batch_pixels, settings.delay_seconds(device))


def _body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(settings.max_bytes, settings.max_batch_bytes, settings.max_batch_parts, settings.body_timeout_s)


def _defaults(settings: Settings, detector: Detector) -> Defaults:
    own = detector.config
    return Defaults(
        settings.attention,
        settings.l or own.act_L,
        settings.r or own.act_r,
        settings.c or own.tangent_C,
        settings.threshold,
        settings.max_detections,
        own.nms if settings.nms is None else settings.nms,
        settings.deadline_ms,
        tuple(detector.labels),
    )


async def _drain(worker: InferenceWorker[Task, Prediction], seconds: float) -> None:
    with suppress(TimeoutError):
        await worker.drain(seconds)
        return
    logger.warning("the drain took too long: what was left has been refused")


def _document_problems(app: FastAPI) -> None:
    """Add the schema that the documented errors refer to."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
