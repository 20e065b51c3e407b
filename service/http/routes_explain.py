"""The route that explains attention."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from service.errors import ClientClosed, MethodNotAllowed, all_errors
from service.explanation import ExplainedImage
from service.explanation_options import ExplainQuery, ExplanationOptions, resolve_explanation
from service.http.access import require_explanations, require_key
from service.http.dependencies import record_of, refuse_repeats, service_of
from service.http.disconnect import while_connected
from service.http.documented_bodies import BINARY, ONE_IMAGE
from service.http.explanation_schemas import EXPLANATION_EXAMPLE, ExplanationResult
from service.http.problems import documented
from service.http.request_body import read_image
from service.http.routes_detect import wants_png

_ERRORS: Final = documented(*(set(all_errors()) - {MethodNotAllowed, ClientClosed}))

router = APIRouter(dependencies=[Depends(require_key), Depends(require_explanations)], tags=["explanation"])


async def _options(request: Request, query: Annotated[ExplainQuery, Query()]) -> ExplanationOptions:
    """Resolve the query. Raises BadParameter."""
    refuse_repeats(request)
    service, record = service_of(request), record_of(request)
    options = resolve_explanation(query, service.defaults, service.detector, record.started)
    if options.run.attention is not None:
        record.requested_attention = options.run.attention.mode
    return options


@router.post(
    "/explain",
    summary="Explain the attention of one encoder layer and head",
    response_model=ExplanationResult,
    responses={
        200: {
            "description": "The clusters, and the attention of a point if one was given; with `Accept: image/png`, "
            "the image under one of them.",
            "content": {"application/json": {"example": EXPLANATION_EXAMPLE}, "image/png": BINARY},
        },
        **_ERRORS,
    },
    openapi_extra=ONE_IMAGE,
)
async def explain(request: Request, options: Annotated[ExplanationOptions, Depends(_options)]) -> Response:
    """Return which encoder tokens share a cluster, and what one of them attends to, exactly and approximately.

    The image runs as in `/detect`, but only up to the layer.
    """
    service, record = service_of(request), record_of(request)
    with service.admission.admit(options.run.deadline):
        with service.admission.reading(), record.stage("read"):
            data = await read_image(request, service.settings)
        explained = await while_connected(request, service.explainer.explain(data, options, record.stopwatch))
        record.requested_attention = explained.task.attention.mode  # what `auto` chose
        if wants_png(request):
            png = await while_connected(
                request, service.explainer.draw(data, explained, options.view, record.stopwatch)
            )
            return Response(png, media_type="image/png", headers=_summary(explained))
        seconds = record.stages | {"total": record.elapsed}
        result = ExplanationResult.of(explained, service.detector, seconds)
        return Response(result.model_dump_json(), media_type="application/json")


def _summary(explained: ExplainedImage) -> dict[str, str]:
    """Return the headers of a PNG response, for what the picture cannot show."""
    explanation, resized = explained.explanation, explained.task.image.pixels.shape
    rows, columns = explanation.grid
    headers = {
        "x-act-detr-attention": explanation.attention.mode,
        "x-act-detr-layer": str(explanation.layer),
        "x-act-detr-head": str(explanation.head),
        "x-act-detr-grid": f"{rows}x{columns}",
        "x-act-detr-resized": f"{resized[2]}x{resized[1]}",
    }
    if explanation.clusters is not None:
        headers["x-act-detr-clusters"] = str(explanation.cluster_count)
    return headers
