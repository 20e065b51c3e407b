"""The routes that detect: thin, the work is done by the pipeline."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from service.errors import (
    BadParameter,
    DeadlinePassed,
    Draining,
    InternalError,
    MalformedRequest,
    NotReady,
    OutOfMemory,
    QueueFull,
    RequestTimeout,
    ServiceError,
    TooManyBytes,
    TooManyPixels,
    Unauthorized,
    UndecodableImage,
    UnsupportedEncoding,
    UnsupportedImageType,
    WorkerDead,
)
from service.http.access import require_key
from service.http.detection_options import Defaults, refuse_repeats, wish
from service.http.disconnect import while_connected
from service.http.problems import documented, problem_body
from service.http.request_body import FIELD, BodyLimits, read_image, read_images
from service.http.schemas import (
    RESULT_EXAMPLE,
    Attention,
    BatchResult,
    DetectionResult,
    DetectQuery,
    FailedImage,
    ImageSize,
    Problem,
    Timing,
    detection_rows,
)
from service.images.image_formats import MEDIA_TYPES
from service.pipeline import Outcome, Pipeline, Wish
from service.readiness import Admission
from service.telemetry.request_record import RequestRecord

router = APIRouter(dependencies=[Depends(require_key), Depends(refuse_repeats)], tags=["detection"])

_ERRORS: Final = documented(
    MalformedRequest,
    Unauthorized,
    RequestTimeout,
    TooManyBytes,
    TooManyPixels,
    UnsupportedImageType,
    UnsupportedEncoding,
    UndecodableImage,
    BadParameter,
    QueueFull,
    InternalError,
    NotReady,
    Draining,
    WorkerDead,
    DeadlinePassed,
    OutOfMemory,
)
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: schema}}}


_ONE_IMAGE: Final = {
    "requestBody": {
        "required": True,
        "description": "One image: the body itself, a form field, or base64 (a `data:` URL, too) in JSON. "
        "Without Content-Encoding.",
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


async def _wish(request: Request, query: Annotated[DetectQuery, Query()]) -> Wish:
    defaults: Defaults = request.app.state.defaults
    return wish(query, defaults, request.state.record.started)


WishOfQuery = Annotated[Wish, Depends(_wish)]


@router.post(
    "/detect",
    summary="Detect objects in one image",
    response_model=DetectionResult,
    responses={
        200: {
            "description": "What was found; with `Accept: image/png`, the image with its boxes drawn.",
            "content": {"application/json": {"example": RESULT_EXAMPLE}, "image/png": _BINARY},
        },
        **_ERRORS,
    },
    openapi_extra=_ONE_IMAGE,
)
async def detect(request: Request, wish: WishOfQuery) -> Response:
    """Send one image; get its objects, how the encoder attended, and where the time went."""
    state, record = request.app.state, _record(request)
    admission: Admission = state.admission
    pipeline: Pipeline = state.pipeline
    _note_attention(record, wish)
    with admission.admit(wish.deadline):
        with admission.reading():
            data = await _timed_read(request, state.body_limits)
        outcome = await while_connected(request, pipeline.detect(data, wish))
        _note_outcome(record, outcome)
        if not _wants_png(request):
            return _json(_result(outcome, record, state.model_name))
        png = await while_connected(request, pipeline.draw(data, outcome))
        record.add_stages(outcome.watch.seconds)
        return Response(png, media_type="image/png", headers=_summary(outcome))


@router.post(
    "/detect/batch",
    summary="Detect objects in several images",
    response_model=BatchResult,
    responses={200: {"description": "One result an image, in order; a bad image fails alone."}, **_ERRORS},
    openapi_extra=_SEVERAL_IMAGES,
)
async def detect_batch(request: Request, wish: WishOfQuery) -> Response:
    """Send several images as fields `image` of one form; they may run together, also with others' images."""
    state, record = request.app.state, _record(request)
    admission: Admission = state.admission
    _note_attention(record, wish)
    with admission.admit(wish.deadline):
        with admission.reading():
            images = await _timed_read_batch(request, state.body_limits)
        record.images = len(images)

        async def one(data: bytes) -> DetectionResult | FailedImage:
            try:
                outcome = await state.pipeline.detect(data, wish)
            except ServiceError as error:
                state.metrics.rejected.labels(error.type).inc()
                return FailedImage(error=Problem(**problem_body(error, record)))
            _note_outcome(record, outcome)
            return _result(outcome, record, state.model_name)

        async def everything() -> list[DetectionResult | FailedImage]:
            return await asyncio.gather(*(one(data) for data in images))

        return _json(BatchResult(results=await while_connected(request, everything())))


def _record(request: Request) -> RequestRecord:
    record: RequestRecord = request.state.record
    return record


async def _timed_read(request: Request, limits: BodyLimits) -> bytes:
    record = _record(request)
    before = record.elapsed
    data = await read_image(request, limits)
    _note_read(request, before)
    return data


async def _timed_read_batch(request: Request, limits: BodyLimits) -> list[bytes]:
    record = _record(request)
    before = record.elapsed
    images = await read_images(request, limits)
    _note_read(request, before)
    return images


def _note_read(request: Request, before: float) -> None:
    record = _record(request)
    record.stages["read"] = record.elapsed - before
    request.app.state.metrics.observe_stages({"read": record.stages["read"]}, record.attention)


def _note_attention(record: RequestRecord, wish: Wish) -> None:
    if wish.attention is not None:
        record.attention = wish.attention.mode


def _note_outcome(record: RequestRecord, outcome: Outcome) -> None:
    record.attention = outcome.prediction.attention.config.mode
    record.add_stages(outcome.watch.seconds)
    record.image = (outcome.width, outcome.height)
    record.batch_size = max(outcome.batch_size, record.batch_size or 0)
    record.detections = len(outcome.detections) + (record.detections or 0)


def _result(outcome: Outcome, record: RequestRecord, model: str) -> DetectionResult:
    milliseconds = {name: round(seconds * 1e3, 3) for name, seconds in outcome.watch.seconds.items()}
    milliseconds["total"] = round(record.elapsed * 1e3, 3)
    return DetectionResult(
        detections=detection_rows(outcome.detections),
        image=ImageSize(width=outcome.width, height=outcome.height),
        attention=Attention.of(outcome.prediction.attention),
        timing_ms=Timing(**{name: milliseconds[name] for name in Timing.model_fields}),
        batch_size=outcome.batch_size,
        model=model,
    )


def _json(answer: DetectionResult | BatchResult) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _wants_png(request: Request) -> bool:
    """Whether PNG is asked for by name: browsers and curl accept anything and get JSON."""
    return any(
        choice.split(";")[0].strip().lower() == "image/png" for choice in request.headers.get("accept", "").split(",")
    )


def _summary(outcome: Outcome) -> dict[str, str]:
    """Return what a PNG cannot say, as a few headers."""
    attention = outcome.prediction.attention
    headers = {
        "x-act-detr-detections": str(len(outcome.detections)),
        "x-act-detr-attention": attention.config.mode,
        "x-act-detr-tokens": str(attention.tokens),
        "x-act-detr-batch-size": str(outcome.batch_size),
    }
    if attention.clusters:
        headers["x-act-detr-clusters"] = ",".join(f"{layer.mean:.1f}" for layer in attention.clusters)
    return headers
