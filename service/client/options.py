"""The options of a detection, as keywords of the client's methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pydantic import ValidationError

from models.config import Metric
from models.masks.forms import MaskForm
from service.detection_options import AttentionChoice, DetectQuery
from service.errors import invalid_parameters


class DetectOptions(TypedDict, total=False):
    """The query parameters of `/detect`, as docs/api.md describes them. The service decides what is left out or None.

    `labels` are class names: a sequence of them, or one string, in which commas separate them.
    """

    attention: AttentionChoice | None
    L: int | None
    r: float | None
    C: int | None
    metric: Metric | None
    size: int | None
    tiles: str | None
    threshold: float | None
    max_detections: int | None
    nms: float | None
    labels: str | Sequence[str]
    masks: MaskForm | None
    deadline_ms: float | None


def checked_query(options: Mapping[str, Any]) -> DetectQuery:
    """Return the options as the service reads them. Raises BadParameter in the service's own words.

    Only the service knows its defaults and its model, so only it can say which options do not go together.
    """
    labels = options.get("labels")
    try:
        return DetectQuery.model_validate({**options, "labels": [labels] if isinstance(labels, str) else labels or []})
    except ValidationError as error:
        raise invalid_parameters([{**row, "loc": ("query", *row["loc"])} for row in error.errors()]) from None


def query_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are given, as query parameters. Raises as `checked_query`."""
    return {name: value for name, value in checked_query(options).model_dump(exclude_none=True).items() if value != []}
