"""The routes that detect objects."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from service.detection_options import DetectionOptions, DetectQuery, resolve_options
from service.errors import BadParameter, ClientClosed, MethodNotAllowed, NotFound, ServiceError, all_errors
from service.http.access import require_key
from service.http.dependencies import record_of, service_of
from service.http.disconnect import while_connected
from service.http.problems import documented, problem_body
from service.http.request_body import FIELD, read_image, read_images
from service.http.schemas import (
    RESULT_EXAMPLE,
    Attention,
    BatchResult,
    DetectionResult,
    FailedImage,
    ImageSize,
    Problem,
    ResizedTo,
    TileGrid,
    Timing,
    detection_rows,
)
from service.images.image_formats import MEDIA_TYPES
from service.telemetry.request_record import NO_ATTENTION, DetectedImage, RequestRecord

_ERRORS: Final = documented(*(set(all_errors()) - {NotFound, MethodNotAllowed, ClientClosed}))
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: schema}}}


_ONE_IMAGE: Final = {
    "requestBody": {
        "required": True,
        "description": "One image: the body itself, a form field, or base64 (also a `data:` URL) in JSON. "
        "Content-Encoding is not supported.",
        "content": {
            **dict.fromkeys(MEDIA_TYPES, _BINARY),
            "application/octet-stream": _BINARY,
            "multipart/form-data": _form({"type": "string", "format": "binary"}),
            "application/json": _form({"type": "string", "format": "byte"})
            | {"example": {FIELD: "iVBORw0KGgoAAAANSUhEUgAAAAEA…"}},
        },
    }
}
_SEVERAL_IMAGES: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form(
                {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
            )
        },
    }
}


def _refuse_repeats(request: Request) -> None:
    """Refuse a parameter that is given more than once. Raises BadParameter."""
    counts = Counter(name for name, _ in request.query_params.multi_items() if name != "labels")
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise BadParameter(f"{repeated[0][:100]}: given more than once", parameter=repeated[0][:100])


async def _options(request: Request, query: Annotated[DetectQuery, Query()]) -> DetectionOptions:
    """Resolve the query. Raises BadParameter."""
    _refuse_repeats(request)
    record = record_of(request)
    options = resolve_options(query, service_of(request).defaults, record.started)
    record.requested_attention = options.attention.mode if options.attention else NO_ATTENTION
    return options


OptionsOfQuery = Annotated[DetectionOptions, Depends(_options)]
router = APIRouter(dependencies=[Depends(require_key)], tags=["detection"])


@router.post(
    "/detect",
    summary="Detect objects in one image",
    response_model=DetectionResult,
    responses={
        200: {
            "description": "The detections; with `Accept: image/png`, the image with its boxes drawn, and its masks if "
            "they were asked for.",
            "content": {"application/json": {"example": RESULT_EXAMPLE}, "image/png": _BINARY},
        },
        **_ERRORS,
    },
    openapi_extra=_ONE_IMAGE,
)
async def detect(request: Request, options: OptionsOfQuery) -> Response:
    """Return the objects in one image, how the encoder attended, and how long each stage took."""
    service, record = service_of(request), record_of(request)
    with service.admission.admit(options.deadline):
        with service.admission.reading(), record.stage("read"):
            data = await read_image(request, service.settings)
        image = await while_connected(request, service.pipeline.detect(data, options))
        record.images.append(image)
        if not _wants_png(request):
            return _json(_result(image, record, service.detector.name))
        png = await while_connected(request, service.pipeline.draw(data, image))
        return Response(png, media_type="image/png", headers=_summary(image))


@router.post(
    "/detect/batch",
    summary="Detect objects in several images",
    response_model=BatchResult,
    responses={200: {"description": "One result per image, in order; a bad image fails by itself."}, **_ERRORS},
    openapi_extra=_SEVERAL_IMAGES,
)
async def detect_batch(request: Request, options: OptionsOfQuery) -> Response:
    """Return the objects in several images, sent as fields `image` of one form.

    Images of one request, and of different requests, may run together.
    """
    service, record = service_of(request), record_of(request)

    async def one(data: bytes) -> DetectionResult | FailedImage:
        try:
            image = await service.pipeline.detect(data, options)
        except ServiceError as error:
            record.image_errors.append(error.type)
            return FailedImage(error=Problem(**problem_body(error, record)))
        record.images.append(image)
        return _result(image, record, service.detector.name)

    async def every(images: list[bytes]) -> list[DetectionResult | FailedImage]:
        return await asyncio.gather(*map(one, images))

    with service.admission.admit(options.deadline):
        with service.admission.reading(), record.stage("read"):
            images = await read_images(request, service.settings)
        record.batch_images = len(images)
        return _json(BatchResult(results=await while_connected(request, every(images))))


def _result(image: DetectedImage, record: RequestRecord, model: str) -> DetectionResult:
    seconds = image.stopwatch.seconds | {"total": record.elapsed}
    return DetectionResult(
        detections=detection_rows(image.detections, image.masks),
        image=ImageSize(width=image.width, height=image.height),
        resized=ResizedTo(width=image.resized[1], height=image.resized[0]),
        tiles=TileGrid(rows=image.tiling.rows, columns=image.tiling.columns),
        attention=Attention.of(image.prediction.attention, image.reason),
        timing_ms=Timing(**{name: round(seconds[name] * 1e3, 3) for name in Timing.model_fields}),
        batch_size=image.batch_size,
        model=model,
    )


def _json(answer: DetectionResult | BatchResult) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _wants_png(request: Request) -> bool:
    """Return whether PNG is asked for by name: browsers and curl accept anything, and get JSON."""
    return any(
        choice.split(";")[0].strip().lower() == "image/png" for choice in request.headers.get("accept", "").split(",")
    )


def _summary(image: DetectedImage) -> dict[str, str]:
    """Return the headers of a PNG response, for what the picture cannot show."""
    report = image.prediction.attention
    headers = {
        "x-act-detr-detections": str(len(image.detections)),
        "x-act-detr-attention": report.config.mode,
        "x-act-detr-tokens": str(report.tokens),
        "x-act-detr-resized": f"{image.resized[1]}x{image.resized[0]}",
        "x-act-detr-tiles": f"{image.tiling.rows}x{image.tiling.columns}",
        "x-act-detr-batch-size": str(image.batch_size),
    }
    if report.clusters:
        headers["x-act-detr-clusters"] = ",".join(f"{layer.mean:.1f}" for layer in report.clusters)
    return headers
