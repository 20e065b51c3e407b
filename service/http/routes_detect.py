"""The routes that detect objects."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from service.detection_options import DetectionOptions, resolve_options
from service.errors import ClientClosed, MethodNotAllowed, NotFound, ServiceError, all_errors
from service.http.access import require_key
from service.http.answer_formats import AnswerFormat, FormattedAnswer, FormattedBatch, FormattedQuery, formatted_json
from service.http.dependencies import record_of, refuse_repeats, service_of
from service.http.disconnect import while_connected
from service.http.documented_bodies import BINARY, ONE_IMAGE, SEVERAL_IMAGES
from service.http.problems import documented, problem_body
from service.http.request_body import read_image, read_images
from service.http.schemas import RESULT_EXAMPLE, BatchResult, DetectionResult, FailedImage, Problem
from service.telemetry.request_record import NO_ATTENTION, DetectedImage

_ERRORS: Final = documented(*(set(all_errors()) - {NotFound, MethodNotAllowed, ClientClosed}))


async def _resolve(
    request: Request, query: Annotated[FormattedQuery, Query()]
) -> tuple[DetectionOptions, AnswerFormat | None]:
    """Resolve the query: how to detect, and the format of other tools to answer in. Raises BadParameter."""
    refuse_repeats(request)
    service, record = service_of(request), record_of(request)
    options = resolve_options(query, service.defaults, record.started)
    record.requested_attention = options.attention.mode if options.attention else NO_ATTENTION
    return options, AnswerFormat.of(query, service.detector.config.labels, png=wants_png(request))


ResolvedQuery = Annotated[tuple[DetectionOptions, AnswerFormat | None], Depends(_resolve)]
router = APIRouter(dependencies=[Depends(require_key)], tags=["detection"])


@router.post(
    "/detect",
    summary="Detect objects in one image",
    response_model=DetectionResult | FormattedAnswer,
    responses={
        200: {
            "description": "The detections, in the `format` asked for; with `Accept: image/png`, the image with its "
            "boxes drawn, and its masks if they were asked for.",
            "content": {"application/json": {"example": RESULT_EXAMPLE}, "image/png": BINARY},
        },
        **_ERRORS,
    },
    openapi_extra=ONE_IMAGE,
)
async def detect(request: Request, query: ResolvedQuery) -> Response:
    """Return the objects in one image, how the encoder attended, and how long each stage took."""
    service, record = service_of(request), record_of(request)
    options, form = query
    if form is not None:
        form.check_images(1)
    with service.admission.admit(options.deadline):
        with service.admission.reading(), record.stage("read"):
            data = await read_image(request, service.settings)
        image = await while_connected(request, service.pipeline.detect(data, options))
        record.images.append(image)
        if not wants_png(request):
            result = DetectionResult.of(image, record.elapsed, service.detector.name)
            return _json(result) if form is None else formatted_json(form.convert(result))
        png = await while_connected(request, service.pipeline.draw(data, image))
        return Response(png, media_type="image/png", headers=_summary(image))


@router.post(
    "/detect/batch",
    summary="Detect objects in several images",
    response_model=BatchResult | FormattedBatch,
    responses={200: {"description": "One result per image, in order; a bad image fails by itself."}, **_ERRORS},
    openapi_extra=SEVERAL_IMAGES,
)
async def detect_batch(request: Request, query: ResolvedQuery) -> Response:
    """Return the objects in several images, sent as fields `image` of one form.

    Images of one request, and of different requests, may run together.
    """
    service, record = service_of(request), record_of(request)
    options, form = query

    async def one(data: bytes) -> DetectionResult | FailedImage:
        try:
            image = await service.pipeline.detect(data, options)
        except ServiceError as error:
            record.image_errors.append(error.type)
            return FailedImage(error=Problem(**problem_body(error, record)))
        record.images.append(image)
        return DetectionResult.of(image, record.elapsed, service.detector.name)

    async def every(images: list[bytes]) -> list[DetectionResult | FailedImage]:
        return await asyncio.gather(*map(one, images))

    with service.admission.admit(options.deadline):
        with service.admission.reading(), record.stage("read"):
            images = await read_images(request, service.settings)
        record.batch_images = len(images)
        if form is not None:
            form.check_images(len(images))
        batch = BatchResult(results=await while_connected(request, every(images)))
        return _json(batch) if form is None else formatted_json(form.convert_batch(batch))


def _json(answer: DetectionResult | BatchResult) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def wants_png(request: Request) -> bool:
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
    if image.rung is not None:
        headers["x-act-detr-rung"] = str(image.rung)
    if report.clusters:
        headers["x-act-detr-clusters"] = ",".join(f"{layer.mean:.1f}" for layer in report.clusters)
    return headers
