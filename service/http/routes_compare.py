"""The route that compares two ways to detect objects."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from service.comparison import compare
from service.comparison_options import SIDES, CompareQuery, Side, resolve_sides
from service.detection_options import DetectionOptions
from service.errors import ClientClosed, MethodNotAllowed, all_errors
from service.http.access import require_explanations, require_key
from service.http.dependencies import record_of, refuse_repeats, service_of
from service.http.disconnect import while_connected
from service.http.documented_bodies import ONE_IMAGE
from service.http.problems import documented
from service.http.request_body import read_image
from service.http.schemas import COMPARISON_EXAMPLE, ComparisonResult, DetectionResult, MatchedPair

_ERRORS: Final = documented(*(set(all_errors()) - {MethodNotAllowed, ClientClosed}))


async def _sides(request: Request, query: Annotated[CompareQuery, Query()]) -> dict[Side, DetectionOptions]:
    """Resolve the query. Raises BadParameter."""
    refuse_repeats(request)
    return resolve_sides(query, service_of(request).defaults, record_of(request).started)


router = APIRouter(dependencies=[Depends(require_key), Depends(require_explanations)], tags=["explanation"])


@router.post(
    "/compare",
    summary="Detect objects in one image in two ways, and pair them",
    response_model=ComparisonResult,
    responses={
        200: {
            "description": "Both results, and which of their detections are of the same object.",
            "content": {"application/json": {"example": COMPARISON_EXAMPLE}},
        },
        **_ERRORS,
    },
    openapi_extra=ONE_IMAGE,
)
async def compare_sides(request: Request, sides: Annotated[dict[Side, DetectionOptions], Depends(_sides)]) -> Response:
    """Return the objects in one image by two attention settings or sizes, in pairs, and what only one side has.

    It costs two images: both wait and run like images of `/detect`, and may run together with others.
    """
    service, record = service_of(request), record_of(request)
    images = len(SIDES)
    with service.admission.admit(sides["left"].deadline, images):
        with service.admission.reading(images), record.stage("read"):
            data = await read_image(request, service.settings)
        record.batch_images = images
        compared = await while_connected(request, compare(service.pipeline, data, sides))
        record.images += [compared.left, compared.right]
        left, right = (DetectionResult.of(one, record.elapsed, service.detector.name) for one in record.images)
        result = ComparisonResult(
            left=left,
            right=right,
            pairs=[MatchedPair.of(pair) for pair in compared.matching.pairs],
            only_left=list(compared.matching.only_left),
            only_right=list(compared.matching.only_right),
        )
        return Response(result.model_dump_json(), media_type="application/json")
