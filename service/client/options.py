"""The options of detections and comparisons, as keywords of the client's methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from pydantic import ValidationError

from models.attention_config import Metric
from models.masks.forms import MaskForm
from service.comparison_options import CompareQuery
from service.detection_options import AttentionChoice, DetectQuery, ImageQuery
from service.errors import invalid_parameters

Q = TypeVar("Q", bound=ImageQuery)


class ImageOptions(TypedDict, total=False):
    """The query parameters that `/detect` and `/compare` share. The service decides what is left out or None.

    `labels` are class names: a sequence of them, or one string, in which commas separate them.
    """

    L: int | None
    r: float | None
    C: int | None
    ratio: float | None
    metric: Metric | None
    size: int | None
    tiles: str | None
    threshold: float | None
    max_detections: int | None
    nms: float | None
    labels: str | Sequence[str]
    deadline_ms: float | None


class DetectOptions(ImageOptions, total=False):
    """The query parameters of `/detect`, as docs/api.md describes them."""

    attention: AttentionChoice | None
    masks: MaskForm | None


class CompareOptions(ImageOptions, total=False):
    """The query parameters of `/compare`, as docs/api.md describes them, but for `left` and `right`."""

    left_size: int | None
    right_size: int | None


def checked_query(options: Mapping[str, Any]) -> DetectQuery:
    """Return the options of a detection as the service reads them. Raises BadParameter in the service's own words.

    Only the service knows its defaults and its model, so only it can say which options do not go together.
    """
    return _checked(options, DetectQuery)


def query_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a detection that are given, as query parameters. Raises as `checked_query`."""
    return _given(checked_query(options))


def comparison_query_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a comparison that are given, as query parameters. Raises as `checked_query`."""
    return _given(_checked(options, CompareQuery))


def _checked(options: Mapping[str, Any], query: type[Q]) -> Q:
    labels = options.get("labels")
    try:
        return query.model_validate({**options, "labels": [labels] if isinstance(labels, str) else labels or []})
    except ValidationError as error:
        raise invalid_parameters([{**row, "loc": ("query", *row["loc"])} for row in error.errors()]) from None


def _given(query: ImageQuery) -> dict[str, Any]:
    return {name: value for name, value in query.model_dump(exclude_none=True).items() if value != []}
