"""The routes of probes, metrics, the model card and the web pages."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Final, get_args

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from models.masks.forms import MaskForm
from service.detection_options import AttentionChoice
from service.errors import Draining, NotFound, NotReady, ServiceError, Unauthorized, WorkerDead
from service.http.access import require_key
from service.http.dependencies import service_of
from service.http.model_schemas import AttentionDefaults, AutoAttentionCard, InputSize, LadderCard, Limits, ModelCard
from service.http.problems import documented
from service.http.schemas import Health
from service.images.image_formats import MEDIA_TYPES
from service.result_formats.categories import category_ids

router = APIRouter()

STATIC_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""Of the pages' files, those that have an address of their own, by suffix."""
_PAGES: Final = files("service.http").joinpath("static")


@router.get(
    "/livez",
    tags=["health"],
    summary="Liveness probe",
    response_model=Health,
    responses=documented(WorkerDead),
)
async def livez(request: Request) -> Health:
    """Return 503 if only a restart helps: the device or its thread has failed."""
    return _health(await service_of(request).readiness.dead())


@router.get(
    "/readyz",
    tags=["health"],
    summary="Readiness probe",
    response_model=Health,
    responses=documented(NotReady, Draining, WorkerDead),
)
async def readyz(request: Request) -> Health:
    """Return 503 until the model is warmed up, while the service drains, and if the device has failed."""
    return _health(await service_of(request).readiness.ready())


def _health(refusal: ServiceError | None) -> Health:
    if refusal is not None:
        raise refusal
    return Health(status="ok")


@router.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return all metrics of the service as text or OpenMetrics, gzipped if `Accept-Encoding` allows it."""
    accepted = (", ".join(request.headers.getlist(name)) for name in ("accept", "accept-encoding"))
    body, headers = service_of(request).metrics.render(*accepted)
    return Response(body, headers=headers)


@router.get(
    "/model",
    tags=["model"],
    summary="Model card",
    response_model=ModelCard,
    dependencies=[Depends(require_key)],
    responses=documented(Unauthorized),
)
async def model(request: Request) -> ModelCard:
    """Return the model's name, classes, default options and limits."""
    service = service_of(request)
    settings, detector, defaults = service.settings, service.detector, service.defaults
    return ModelCard(
        name=detector.name,
        commit=detector.commit,
        version=service_version(),
        labels=list(detector.labels),
        category_ids=category_ids(detector.config.labels),
        device=detector.device,
        precision=detector.precision,
        parameters=detector.parameters,
        box_refinement=detector.config.box_refinement is not None,
        family=detector.family.name,
        engine=detector.family.engine,
        explain=settings.explain,
        masks=[] if defaults.mask_refusal else list(get_args(MaskForm)),
        attention_modes=[mode for mode in get_args(AttentionChoice) if mode not in defaults.refusals],
        attention_note=detector.family.note,
        default_attention=AttentionDefaults(
            mode=defaults.attention,
            L=defaults.L,
            r=defaults.r,
            metric=defaults.metric,
            C=defaults.C,
            ratio=defaults.ratio,
        ),
        auto_attention=AutoAttentionCard.of(detector.config, detector.auto) if detector.auto else None,
        ladder=LadderCard.of(service.degradation) if service.degradation else None,
        default_threshold=defaults.threshold,
        default_max_detections=defaults.max_detections,
        default_nms=defaults.nms,
        default_deadline_ms=defaults.deadline_ms,
        input_size=InputSize(
            shortest_side=detector.config.shortest_side,
            longest_side=detector.config.longest_side,
            min_size=defaults.sizes[0],
            max_size=defaults.sizes[1],
        ),
        limits=Limits(**{name: getattr(settings, name) for name in Limits.model_fields}),
        image_types=list(MEDIA_TYPES),
    )


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """Return the web page."""
    return _page(request, "index.html")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """Return the page that renders openapi.json, without loading anything from other hosts."""
    return _page(request, "docs.html")


@router.get("/static/{name}", include_in_schema=False)
async def static(name: str) -> Response:
    """Return a style, a script or an image of the pages."""
    if name not in _static_files():
        raise NotFound
    return _response(_static_files()[name].read_bytes(), STATIC_TYPES[PurePath(name).suffix])


def _page(request: Request, name: str) -> Response:
    """Return a page. Its links are relative: to the prefix if one is set, else to the page."""
    content, prefix = _PAGES.joinpath(name).read_bytes(), request.scope.get("root_path", "")
    if prefix:
        content = content.replace(b"<head>", f'<head>\n<base href="{escape(prefix.rstrip("/"))}/">'.encode(), 1)
    return _response(content, "text/html; charset=utf-8")


@cache
def _static_files() -> dict[str, Traversable]:
    """Return a closed list by name: no name leads anywhere else."""
    found = [*_PAGES.iterdir(), files("models").joinpath("pretrained", "sample-page.jpg")]
    return {file.name: file for file in found if PurePath(file.name).suffix in STATIC_TYPES}


def _response(content: bytes, media_type: str) -> Response:
    return Response(content, headers={"Content-Type": media_type, "Cache-Control": "no-cache"})


def service_version() -> str:
    """Return the installed version, or `unknown` if the sources run without being installed."""
    try:
        return version("act-detr")
    except PackageNotFoundError:
        return "unknown"
