"""The routes of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.convertors import StringConvertor, register_url_convertor

from service.detection_options import DetectionOptions, resolve_options
from service.errors import (
    ClientClosed,
    Draining,
    MethodNotAllowed,
    NotFound,
    NotReady,
    ServiceError,
    Unauthorized,
    WorkerDead,
    all_errors,
)
from service.http.access import require_key
from service.http.dependencies import record_of, service_of
from service.http.disconnect import while_connected
from service.http.open_inference.errors import PREFIX, documented_errors
from service.http.open_inference.model_configuration import EXTENSIONS, VERSION, ModelConfiguration, model_metadata
from service.http.open_inference.requests import read_request
from service.http.open_inference.response_schemas import (
    InferResponse,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
)
from service.http.open_inference.responses import encode_response, output_tensors
from service.http.open_inference.statistics import Statistics, model_statistics
from service.http.open_inference.wire_format import HEADER_LENGTH
from service.http.routes_status import service_version
from service.http.schemas import DetectionResult
from service.pipeline import Pipeline, all_or_none
from service.telemetry.request_record import NO_ATTENTION, DetectedImage, RequestRecord


class _ModelName(StringConvertor):
    """The name of a model, also `org/name` of a hub, before or without what the protocol asks about it."""

    regex = r"[^/]+(?:/(?!(?:versions|infer|ready|config|stats|trace|generate|generate_stream)(?:/|$))[^/]+)?"


register_url_convertor("model_name", _ModelName())

_MODEL: Final = "/models/{name:model_name}"
_OF_VERSION: Final = _MODEL + "/versions/{version}"
_NOT_HERE: Final = (
    "/repository/{rest:path}",
    "/systemsharedmemory/{rest:path}",
    "/cudasharedmemory/{rest:path}",
    "/logging",
    "/trace/setting",
    _MODEL + "/trace/setting",
    _MODEL + "/generate",
    _MODEL + "/generate_stream",
)
"""Addresses of Triton's other extensions, which its clients may ask for."""


async def require_model(request: Request) -> None:
    """Refuse requests for other models and versions than the one that is served. Raises NotFound."""
    asked, served = request.path_params["name"], service_of(request).detector.name
    if asked != served:
        raise NotFound(f"There is no model {asked[:100]!r} here: this service has {served!r}.")
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise NotFound(f"{served} has no version {version[:100]!r}: its only version is {VERSION!r}.")


router = APIRouter(prefix=PREFIX, tags=["open inference protocol"])
_SERVED: Final = [Depends(require_model)]
_KEYED: Final = [Depends(require_key), Depends(require_model)]
_MODEL_ERRORS: Final = documented_errors(Unauthorized, NotFound)


@router.get("", summary="Server metadata")
async def server() -> ServerMetadata:
    """Return the server's name and version, and the extensions of the protocol that it has."""
    return ServerMetadata(name="act-detr", version=service_version(), extensions=list(EXTENSIONS))


@router.get("/health/live", summary="Liveness probe", responses=documented_errors(WorkerDead))
async def live(request: Request) -> Live:
    """Return 503 if only a restart helps, as `/livez` does."""
    _raise(await service_of(request).readiness.dead())
    return Live(live=True)


@router.get("/health/ready", summary="Readiness probe", responses=documented_errors(NotReady, Draining, WorkerDead))
async def ready(request: Request) -> Ready:
    """Return 503 until requests are accepted, as `/readyz` does."""
    _raise(await service_of(request).readiness.ready())
    return Ready(ready=True)


_READY_ERRORS: Final = documented_errors(NotFound, NotReady, Draining, WorkerDead)


@router.get(_OF_VERSION + "/ready", summary="Readiness of a version", responses=_READY_ERRORS, dependencies=_SERVED)
@router.get(_MODEL + "/ready", summary="Readiness of the model", responses=_READY_ERRORS, dependencies=_SERVED)
async def model_ready(request: Request) -> ModelReady:
    """Return 503 until requests to the model are accepted."""
    _raise(await service_of(request).readiness.ready())
    return ModelReady(name=service_of(request).detector.name, ready=True)


def _raise(refusal: ServiceError | None) -> None:
    if refusal is not None:
        raise refusal


@router.get(
    "/models/stats",
    summary="Statistics",
    responses=documented_errors(Unauthorized),
    dependencies=[Depends(require_key)],
)
async def all_stats(request: Request) -> Statistics:
    """Return the statistics of the only model."""
    return _statistics(request)


@router.get(_OF_VERSION, summary="Metadata of a version", responses=_MODEL_ERRORS, dependencies=_KEYED)
@router.get(_MODEL, summary="Metadata of the model", responses=_MODEL_ERRORS, dependencies=_KEYED)
async def model(request: Request) -> ModelMetadata:
    """Return the model's inputs and outputs. -1 in a shape varies."""
    return model_metadata(service_of(request).detector)


@router.get(_OF_VERSION + "/config", summary="Configuration of a version", responses=_MODEL_ERRORS, dependencies=_KEYED)
@router.get(_MODEL + "/config", summary="Configuration of the model", responses=_MODEL_ERRORS, dependencies=_KEYED)
async def config(request: Request) -> ModelConfiguration:
    """Return what of Triton's model configuration applies: limits, batching, classes."""
    service = service_of(request)
    return ModelConfiguration.of(service.detector, service.settings)


@router.get(_OF_VERSION + "/stats", summary="Statistics of a version", responses=_MODEL_ERRORS, dependencies=_KEYED)
@router.get(_MODEL + "/stats", summary="Statistics of the model", responses=_MODEL_ERRORS, dependencies=_KEYED)
async def stats(request: Request) -> Statistics:
    """Return how many images were answered since the start, and how long each stage took."""
    return _statistics(request)


def _statistics(request: Request) -> Statistics:
    service = service_of(request)
    return Statistics(model_stats=[model_statistics(service.metrics, service.detector.name, VERSION)])


_INFER: Final[dict[str, Any]] = {
    "response_model": InferResponse,
    "responses": {
        200: {
            "description": "The outputs that were asked for; binary data follow the JSON where they were.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **documented_errors(*(set(all_errors()) - {MethodNotAllowed, ClientClosed})),
    },
    "dependencies": _KEYED,
}


@router.post(_OF_VERSION + "/infer", summary="Detect objects with a version", **_INFER)
@router.post(_MODEL + "/infer", summary="Detect objects in one or several images", **_INFER)
async def infer(request: Request) -> Response:
    """Return the objects in the images as tensors, padded to the image that has most.

    Options are those of `/detect`, as parameters of the request. If one image fails, the request fails.
    """
    service, record = service_of(request), record_of(request)
    default_deadline = record.started + service.defaults.deadline_ms / 1e3  # the request's own is in its body
    with service.admission.admit(default_deadline):
        with service.admission.reading(), record.stage("read"):
            asked, files = await read_request(request, service.settings)
        options = resolve_options(asked.parameters.query, service.defaults, record.started)
        record.requested_attention = options.attention.mode if options.attention else NO_ATTENTION
        record.batch_images = len(files)
        images = await while_connected(request, _detect(service.pipeline, files, options))
        record.images += images
        tensors = output_tensors(
            [image.detections for image in images],
            service.detector.labels,
            [_report(image, record, service.detector.name) for image in images],
        )
        body, header_length = encode_response(
            asked, tensors, (service.detector.name, VERSION), _summary(images, record)
        )
    if header_length is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type="application/octet-stream", headers={HEADER_LENGTH: str(header_length)})


async def _detect(pipeline: Pipeline, files: Sequence[bytes], options: DetectionOptions) -> list[DetectedImage]:
    """Detect in every image. If one fails, the others are dropped before its error is raised; it names the image."""

    async def one(index: int, data: bytes) -> DetectedImage:
        try:
            return await pipeline.detect(data, options)
        except ServiceError as error:
            if len(files) > 1:
                error.detail = f"Image {index}: {error.detail or error.title}"
            raise

    return await all_or_none(one(index, data) for index, data in enumerate(files))


def _report(image: DetectedImage, record: RequestRecord, model: str) -> str:
    """Return all that `/detect` says about an image besides its detections, as JSON."""
    return DetectionResult.of(image, record.elapsed, model).model_dump_json(exclude={"detections"})


def _summary(images: Sequence[DetectedImage], record: RequestRecord) -> dict[str, str | float]:
    """Return the parameters of the response: how the encoder attended, and the milliseconds in all."""
    attentions = dict.fromkeys(str(image.prediction.attention.config) for image in images)
    return {"attention": ", ".join(attentions), "total_ms": round(record.elapsed * 1e3, 3)}


async def not_here(request: Request) -> Response:
    """Refuse a request for an extension that is not supported. Raises NotFound."""
    raise NotFound(
        f"There is nothing at {request.url.path[:100]}: this extension of the protocol is not supported. "
        f"GET {PREFIX} lists those that are."
    )


for _path in _NOT_HERE:
    router.add_api_route(_path, not_here, methods=["GET", "POST"], include_in_schema=False)
