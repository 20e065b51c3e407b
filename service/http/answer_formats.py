"""The formats of other tools that `/detect` and `/detect/batch` can answer in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi.responses import Response
from pydantic import BaseModel, Field

from service.detection_options import DetectQuery
from service.errors import BadParameter
from service.http.schemas import BatchResult, DetectionResult, FailedImage
from service.result_formats.categories import category_ids
from service.result_formats.coco import CocoResult, coco_results
from service.result_formats.label_studio import LabelStudioPrediction, label_studio_prediction

FormatName = Literal["coco", "label-studio"]
FormattedAnswer = list[CocoResult] | LabelStudioPrediction
_MAX_DIGITS: Final = 18
"""Of image ids that are numbers: all fit 64 bits."""


class FormattedQuery(DetectQuery):
    """The parameters of a detection, and what its answer looks like."""

    format: FormatName | None = Field(
        None,
        description="Answer in the format of other tools: `coco` is a row of COCO's results for each detection, "
        "`label-studio` a prediction that Label Studio imports. Default: act-detr's own.",
    )
    image_id: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        [],
        description="The image's id in COCO's results, a number or a text; of a batch, repeated for each image. Only "
        "with `format=coco`. Default: 0, and 0, 1, 2, ... in a batch.",
    )


class FormattedBatch(BaseModel):
    """The results for several images, in their order and in the format that was asked for."""

    results: list[list[CocoResult] | LabelStudioPrediction | FailedImage]


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The format of a request's answer.

    `image_ids` are those of its images, none where they count from 0; `categories` are the classes' ids by name.
    """

    name: FormatName
    image_ids: Sequence[int | str]
    categories: Mapping[str, int]

    @classmethod
    def of(cls, query: FormattedQuery, labels: Sequence[str | None], *, png: bool) -> AnswerFormat | None:
        """Return what a query asks for; None is act-detr's own. `png`: whether a picture is asked for.

        `labels` are the model's, as `category_ids` takes them. Raises BadParameter for what does not go together.
        """
        if query.image_id and query.format != "coco":
            raise BadParameter("image_id: is only valid with format=coco", parameter="image_id")
        if query.format is None:
            return None
        if png:
            raise BadParameter("format: cannot be combined with `Accept: image/png`", parameter="format")
        if query.format == "label-studio" and query.masks == "rle":
            raise BadParameter("masks: Label Studio takes polygons; use masks=polygons", parameter="masks")
        return cls(query.format, [_image_id(text) for text in query.image_id], category_ids(labels))

    def check_images(self, count: int) -> None:
        """Raise BadParameter unless there is an id for each of `count` images, or none at all."""
        if self.image_ids and len(self.image_ids) != count:
            raise BadParameter(
                f"image_id: given {len(self.image_ids)} times for {count} image{'s' * (count > 1)}",
                parameter="image_id",
            )

    def convert(self, result: DetectionResult, index: int = 0) -> FormattedAnswer:
        """Convert the result of the request's image `index`."""
        answer = result.model_dump()
        if self.name == "coco":
            return coco_results(answer, self.image_ids[index] if self.image_ids else index, self.categories)
        return label_studio_prediction(answer)

    def convert_batch(self, batch: BatchResult) -> dict[str, Any]:
        """Convert every result; failed images stay what they are."""
        results = enumerate(batch.results)
        return {
            "results": [
                one.model_dump() if isinstance(one, FailedImage) else self.convert(one, i) for i, one in results
            ]
        }


def formatted_json(answer: FormattedAnswer | dict[str, Any]) -> Response:
    """Return the response of a converted answer."""
    return Response(json.dumps(answer, ensure_ascii=False, separators=(",", ":")), media_type="application/json")


def _image_id(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else text
