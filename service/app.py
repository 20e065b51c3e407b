"""The application: HTTP around a detector, put together from its parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from models.detector import Detector, DeviceOutOfMemory
from service.cpu_threads import compute_with, default_threads
from service.degradation import Degradation
from service.detection_options import DetectionDefaults
from service.explanation import Explainer, ExplanationKey, run_tasks
from service.http import routes_compare, routes_detect, routes_explain, routes_open_inference, routes_status
from service.http.dependencies import Service
from service.http.head_requests import HeadAsGet
from service.http.middleware import LingeringClose, RequestObserver
from service.http.open_inference import api_document
from service.http.path_prefix import PathPrefix
from service.http.problems import install_error_handlers
from service.http.schemas import Problem
from service.pipeline import Pipeline
from service.readiness import DeviceProbe, Readiness
from service.rungs import configured_rungs
from service.scheduling.admission import Admission
from service.scheduling.batcher import BatchLimits
from service.scheduling.costs import CostModel
from service.scheduling.inference_worker import InferenceWorker
from service.scheduling.ladder import Ladder
from service.settings import Settings
from service.shadows import Shadows
from service.telemetry.metrics import Metrics
from service.telemetry.request_record import now
from service.telemetry.tracing import NO_TRACER, Tracer

logger = logging.getLogger(__name__)

MAX_BATCH_SECONDS: Final = 0.5
"""Images that run together are answered together: what is predicted to take longer than this runs by itself."""

_DESCRIPTION = """Detects objects in images with a DETR whose encoder uses exact attention, ACT (adaptive
clustering), tangent attention or token merging, chosen per request. Errors are `application/problem+json`; those below
`/v2` have the form of the Open Inference Protocol. Every response has the headers `X-Request-Id` and
`Server-Timing`."""


def create_app(settings: Settings, detector: Detector, tracer: Tracer = NO_TRACER) -> FastAPI:
    """Build the app. Its lifespan warms the detector up in the background, and drains at the end.

    Raises BadSettings for a ladder that the model cannot do.
    """
    metrics = Metrics()
    defaults = DetectionDefaults.of(settings, detector)
    threads = settings.threads or default_threads()
    streams = settings.streams_on(detector.device, threads)
    costs = CostModel(typical=lambda key: not isinstance(key, ExplanationKey))
    shadows = _shadows(
        settings,
        detector,
        metrics,
        quiet=lambda: not readiness.draining and service.admission.coming == 0,
        give_way=lambda: readiness.draining or worker.backlog.crowded(service.admission.coming),
    )
    worker = InferenceWorker[Any, Any](  # a key's tasks and their results are of the key's kind
        tracer.watch(partial(run_tasks, detector)),
        limits=_batch_limits(settings, detector.device),
        max_queue=settings.max_queue,
        observer=metrics,
        clock=now,
        is_out_of_memory=lambda error: isinstance(error, DeviceOutOfMemory),
        costs=costs,
        set_up=lambda stream: _set_up_inference(
            detector, settings, threads // streams, metrics, costs, degradation, stream
        ),
        streams=streams,
        spare=shadows,
    )
    degradation = _degradation(settings, detector, defaults, worker, costs, streams)
    pipeline = Pipeline(detector, worker, settings, degradation, shadows.offer if shadows else None)
    readiness = Readiness(lambda: worker.alive, DeviceProbe(detector.check))
    service = Service(
        settings=settings,
        detector=detector,
        defaults=defaults,
        metrics=metrics,
        pipeline=pipeline,
        explainer=Explainer(detector, worker, pipeline),
        readiness=readiness,
        admission=Admission(readiness.refusal, worker.backlog, settings.max_inflight, metrics.inflight.set, now),
        degradation=degradation,
    )
    version = routes_status.service_version()
    metrics.describe(detector, version, settings.max_queue, lambda: readiness.refusal() is None, worker.backlog.wait)
    if degradation is not None:
        metrics.describe_ladder(len(degradation.rungs) - 1, lambda: degradation.ladder.rung)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(readiness.warm_up(asyncio.wrap_future(worker.start())))
        yield
        readiness.drain()
        if shadows is not None:
            shadows.close()
        await warming
        await _drain(worker, settings.drain_seconds)
        service.pipeline.close()
        tracer.close()

    app = FastAPI(
        title="act-detr",
        version=version,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.include_router(routes_detect.router)
    app.include_router(routes_compare.router)
    app.include_router(routes_explain.router)
    app.include_router(routes_status.router)
    app.include_router(routes_open_inference.router)
    install_error_handlers(app)
    _add_middleware(app, settings, metrics, tracer)
    _complete_document(app, detector.name)
    return app


def _shadows(
    settings: Settings, detector: Detector, metrics: Metrics, quiet: Callable[[], bool], give_way: Callable[[], bool]
) -> Shadows | None:
    """Return what compares live traffic with exact attention; None where no share of it is compared."""
    if settings.shadow_rate == 0:
        return None
    metrics.describe_shadows()
    return Shadows(detector, settings.shadow_rate, settings.threshold, metrics, quiet, give_way)


def _degradation(
    settings: Settings,
    detector: Detector,
    defaults: DetectionDefaults,
    worker: InferenceWorker[Any, Any],
    costs: CostModel,
    streams: int,
) -> Degradation | None:
    """Return what makes images cheaper under load; None without a target. Raises BadSettings."""
    if settings.target_ms is None:
        return None
    rungs = configured_rungs(settings, detector, defaults.sizes)
    ladder = Ladder(len(rungs), settings.target_ms / 1e3, streams, worker.backlog.wait, now)
    return Degradation(detector, rungs, ladder, costs)


def _set_up_inference(
    detector: Detector,
    settings: Settings,
    threads: int,
    metrics: Metrics,
    costs: CostModel,
    degradation: Degradation | None,
    stream: int,
) -> None:
    """Set up a thread that runs the model: its own pool and, on the first, all that later ones find done."""
    compute_with(threads)
    if stream == 0:
        started = now()
        squares = detector.warm_up()
        costs.assume(detector.config.shortest_side**2, (now() - started) / squares)
        metrics.describe_auto(detector.measure_attention(settings.cache_dir))
        if degradation is not None:
            degradation.measure()


def _batch_limits(settings: Settings, device: str) -> BatchLimits:
    return BatchLimits(
        settings.batch_images(device), settings.max_batch_pixels, settings.delay_seconds(device), MAX_BATCH_SECONDS
    )


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics, tracer: Tracer) -> None:
    """Add the middleware; each runs around those added before it."""
    if settings.allowed_origins:
        _allow_origins(app, settings.allowed_origins)
    app.add_middleware(RequestObserver, metrics=metrics, tracer=tracer)
    app.add_middleware(LingeringClose)
    app.add_middleware(HeadAsGet)
    if settings.root_path:
        app.add_middleware(PathPrefix, prefix=settings.root_path)


def _allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let web pages of these origins call. Cookies are not allowed: a page has to send the key itself, as a header."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("Authorization", "Content-Type", "X-API-Key", "X-Request-Id"),
        expose_headers=("Retry-After", "Server-Timing", "X-Request-Id"),
    )


async def _drain(worker: InferenceWorker[Any, Any], seconds: float) -> None:
    with suppress(TimeoutError):
        await worker.drain(seconds)
        return
    logger.warning("the drain took too long: the remaining images have been refused")


def _complete_document(app: FastAPI, model: str) -> None:
    """Add the schema that the documented errors refer to, and what routes of the Open Inference Protocol read."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:  # FastAPI keeps the document there
            document = plain()
            document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            api_document.complete(document, model)
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]
