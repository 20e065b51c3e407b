"""The options of a comparison: what both sides share, how each of them attends, and the two resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast, get_args

from pydantic import Field

from models.attention_config import MAX_MERGE_RATIO, Metric, mode_and_options
from service.detection_options import (
    MODES_OF_OPTION,
    AttentionChoice,
    DetectionDefaults,
    DetectionOptions,
    DetectQuery,
    ImageQuery,
    resolve_options,
)
from service.errors import BadParameter

Side = Literal["left", "right"]
SIDES: Final[tuple[Side, ...]] = get_args(Side)

_MODES: Final = get_args(AttentionChoice)
_SIDE_TEXT: Final = (
    "`exact`, `act`, `tangent`, `merge` or `auto`, also with options of its own: `tangent:C=16`, `act:L=16,r=2`, "
    "`merge:ratio=0.5`."
)


class CompareQuery(ImageQuery):
    """The query parameters of a comparison. L, r, C, ratio and metric are of the sides that have such an option."""

    left: str = Field(max_length=100, description=f"Attention of the left side: {_SIDE_TEXT}")
    right: str = Field(max_length=100, description=f"Attention of the right side: {_SIDE_TEXT}")
    left_size: int | None = Field(None, ge=1, le=10_000, description="`size` of the left side only.")
    right_size: int | None = Field(None, ge=1, le=10_000, description="`size` of the right side only.")
    L: int | None = Field(None, ge=1, le=64, description="Hash rounds of sides with act that do not set them.")
    r: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Bucket width of sides with act that do not set it."
    )
    C: int | None = Field(
        None, ge=1, le=4096, description="Clusters per head of sides with tangent or merge that do not set them."
    )
    ratio: float | None = Field(
        None,
        ge=0,
        le=MAX_MERGE_RATIO,
        allow_inf_nan=False,
        description="Share of merged tokens of sides with merge that do not set it.",
    )
    metric: Metric | None = Field(
        None,
        description="Distance between two queries, of sides with act or tangent attention that do not set it; as in "
        "`/detect`.",
    )


@dataclass(frozen=True, slots=True)
class _Attention:
    """How a side attends: its mode, and the options that its own parameter gives."""

    side: Side
    mode: AttentionChoice
    own: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str, side: Side) -> _Attention:
        """Read a side's parameter. Raises BadParameter."""
        mode, _, options = text.partition(":")
        if mode not in _MODES:
            raise BadParameter(f"{side}: {text!r}: the mode must be one of {', '.join(_MODES)}", parameter=side)
        if mode == "auto":
            if options:
                raise BadParameter(f"{side}: {text!r}: auto chooses its options itself", parameter=side)
            return cls(side, "auto", {})
        try:
            own = mode_and_options(text)[1]
        except ValueError as error:
            raise BadParameter(f"{side}: {error}", parameter=side) from error
        foreign = [name for name in own if name not in MODES_OF_OPTION]  # some cost many times what others do
        if foreign:
            raise BadParameter(f"{side}: {text!r}: {foreign[0]} is not an option of requests", parameter=side)
        return cls(side, cast("AttentionChoice", mode), own)

    def takes(self, option: str) -> bool:
        """Whether an option that is given for both sides is of this one."""
        return self.mode in MODES_OF_OPTION[option] and option not in self.own


def resolve_sides(query: CompareQuery, defaults: DetectionDefaults, arrival: float) -> dict[Side, DetectionOptions]:
    """Return the options of each side, with defaults filled in; the deadline counts from `arrival`.

    Raises BadParameter as `resolve_options` does, and for an option that no side takes.
    """
    attentions = [_Attention.parse(getattr(query, side), side) for side in SIDES]
    _refuse_idle_options(query, attentions)
    names = [name for name in DetectQuery.model_fields if name in ImageQuery.model_fields.keys() - MODES_OF_OPTION]
    shared = DetectQuery(attention="exact", **{name: getattr(query, name) for name in names})
    options = resolve_options(shared, defaults, arrival)
    return {attention.side: _of_side(attention, query, options, defaults) for attention in attentions}


def _of_side(
    attention: _Attention, query: CompareQuery, options: DetectionOptions, defaults: DetectionDefaults
) -> DetectionOptions:
    side, given = attention.side, query.attention_options
    defaults.require(attention.mode, side)
    both = {name: value for name, value in given.items() if attention.takes(name)}
    try:
        config = defaults.attention_config(attention.mode, both | dict(attention.own))
    except ValueError as error:
        raise BadParameter(f"{side}: {error}", parameter=side) from error
    size: int | None = getattr(query, f"{side}_size")
    if size is not None:
        options = replace(options, size=defaults.allowed_size(size, f"{side}_size"))
    return replace(options, attention=config)


def _refuse_idle_options(query: CompareQuery, attentions: list[_Attention]) -> None:
    for name in query.attention_options:
        if any(attention.takes(name) for attention in attentions):
            continue
        needed = MODES_OF_OPTION[name]
        if any(attention.mode in needed for attention in attentions):
            why = "every side that has it sets it itself"
        else:
            modes = " and ".join(attention.mode for attention in attentions)
            why = f"it is only valid with {' or '.join(needed)} on a side; this request compares {modes}"
        raise BadParameter(f"{name}: {why}", parameter=name)
