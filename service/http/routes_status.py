"""The routes that tell of the service: probes, metrics, the model's card, the pages."""

from __future__ import annotations

from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from service.errors import Draining, NotFound, NotReady, ServiceError, Unauthorized, WorkerDead
from service.http.access import require_key
from service.http.problems import documented
from service.http.schemas import AttentionDefaults, Health, InputSize, Limits, ModelCard
from service.images.image_formats import MEDIA_TYPES

router = APIRouter()

STATIC_TYPES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@router.get(
    "/livez",
    tags=["health"],
    summary="Is the process worth keeping?",
    response_model=Health,
    responses=documented(WorkerDead),
)
async def livez(request: Request) -> Health:
    """Answer 503 when only a restart helps: the device or the thread that owns it has died."""
    return _health(await request.app.state.readiness.dead())


@router.get(
    "/readyz",
    tags=["health"],
    summary="Can it take requests now?",
    response_model=Health,
    responses=documented(NotReady, Draining, WorkerDead),
)
async def readyz(request: Request) -> Health:
    """Answer 503 until the model is warm, while the service drains, and when the device is dead."""
    return _health(await request.app.state.readiness.ready())


def _health(refusal: ServiceError | None) -> Health:
    if refusal is not None:
        raise refusal
    return Health(status="ok")


@router.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Every metric of the service, as text or OpenMetrics, gzipped where `Accept-Encoding` allows it."""
    wishes = (", ".join(request.headers.getlist(name)) for name in ("accept", "accept-encoding"))
    body, headers = request.app.state.metrics.render(*wishes)
    return Response(body, headers=headers)


@router.get(
    "/model",
    tags=["model"],
    summary="The model, its classes, defaults and limits",
    response_model=ModelCard,
    dependencies=[Depends(require_key)],
    responses=documented(Unauthorized),
)
async def model(request: Request) -> ModelCard:
    """Tell what is served, and what a request gets that does not choose."""
    state = request.app.state
    settings, detector, defaults = state.settings, state.detector, state.defaults
    return ModelCard(
        name=detector.name,
        version=service_version(),
        labels=list(detector.labels),
        device=detector.device,
        precision=detector.precision,
        parameters=detector.parameters,
        box_refinement=detector.config.box_refinement is not None,
        attention_modes=["exact", "act", "tangent", "auto"],
        default_attention=AttentionDefaults(mode=defaults.attention, L=defaults.L, r=defaults.r, C=defaults.C),
        default_threshold=settings.threshold,
        default_max_detections=settings.max_detections,
        default_nms=defaults.nms,
        default_deadline_ms=settings.deadline_ms,
        input_size=InputSize(shortest_side=detector.config.shortest_side, longest_side=detector.config.longest_side),
        limits=Limits(**{name: getattr(settings, name) for name in Limits.model_fields}),
        image_types=list(MEDIA_TYPES),
    )


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the web page."""
    return _page(request, "index.html")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the API's documentation: a page of ours draws it from openapi.json, without a network."""
    return _page(request, "docs.html")


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """Return a style or script of the pages."""
    if name not in STATIC_TYPES:
        raise NotFound
    return _response(_content(name), STATIC_TYPES[name])


def _page(request: Request, name: str) -> Response:
    """Return a page. Its addresses are relative; where the prefix is known, they are so to that."""
    content, prefix = _content(name), request.scope.get("root_path", "")
    if prefix:
        content = content.replace(b"<head>", f'<head>\n<base href="{escape(prefix.rstrip("/"))}/">'.encode(), 1)
    return _response(content, "text/html; charset=utf-8")


def _content(name: str) -> bytes:
    return files("service.http").joinpath("static", name).read_bytes()


def _response(content: bytes, media_type: str) -> Response:
    return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-cache"})


def service_version() -> str:
    """Return the installed version, or `unknown` where the sources run uninstalled."""
    try:
        return version("act-detr")
    except PackageNotFoundError:
        return "unknown"
