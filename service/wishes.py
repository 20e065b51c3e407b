"""From a query to a wish: defaults filled in, combinations checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from models.config import AttentionConfig
from service.errors import BadParameter
from service.pipeline import Wish
from service.schemas import AttentionChoice, DetectQuery

OPTIONS: Final[dict[str, AttentionChoice]] = {"L": "act", "r": "act", "C": "tangent", "centres": "tangent"}
"""The parameters that belong to one kind of attention."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What callers get that do not choose; `labels` are the names that the model knows."""

    attention: AttentionChoice
    L: int
    r: float
    C: int
    threshold: float
    max_detections: int
    nms: float | None
    deadline_ms: float
    labels: tuple[str, ...]

    @property
    def large(self) -> AttentionConfig:
        """What `auto` means for large images."""
        return AttentionConfig.tangent(self.C)


async def refuse_repeats(request: Request) -> None:
    """Refuse a parameter that is given twice: which one counts would be a guess. Raises BadParameter."""
    counts = Counter(name for name, _ in request.query_params.multi_items() if name != "labels")
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise BadParameter(f"{repeated[0][:100]}: given more than once", parameter=repeated[0][:100])


def wish(query: DetectQuery, defaults: Defaults, arrival: float) -> Wish:
    """Return what the query asks for; its deadline counts from `arrival`, on the service's clock.

    Raises BadParameter.
    """
    deadline_ms = defaults.deadline_ms if query.deadline_ms is None else query.deadline_ms
    most = query.max_detections
    return Wish(
        attention=_attention(query, defaults),
        large=defaults.large,
        threshold=defaults.threshold if query.threshold is None else query.threshold,
        max_detections=defaults.max_detections if most is None else most,
        nms=defaults.nms if query.nms is None else query.nms,
        labels=_labels(query.labels, defaults.labels),
        deadline=arrival + deadline_ms / 1e3,
    )


def _attention(query: DetectQuery, defaults: Defaults) -> AttentionConfig | None:
    mode = query.attention or defaults.attention
    given = {name: getattr(query, name) for name in OPTIONS if getattr(query, name) is not None}
    if strangers := [name for name in given if OPTIONS[name] != mode]:
        wanted = OPTIONS[strangers[0]]
        raise BadParameter(
            f"{' and '.join(name for name in strangers if OPTIONS[name] == wanted)}: for attention={wanted} alone, "
            f"and this request's attention is {mode}",
            parameter=strangers[0],
        )
    try:
        return _config(mode, given, defaults)
    except ValueError as error:
        raise BadParameter(str(error), parameter=next(iter(given), "attention")) from error


def _config(mode: AttentionChoice, given: dict[str, Any], defaults: Defaults) -> AttentionConfig | None:
    if mode == "auto":
        return None
    if mode == "act":
        return AttentionConfig.act(**{"L": defaults.L, "r": defaults.r} | given)
    if mode == "tangent":
        return AttentionConfig.tangent(**{"C": defaults.C} | given)
    return AttentionConfig.exact()


def _labels(wished: list[str], known: tuple[str, ...]) -> frozenset[str] | None:
    unknown = [name for name in wished if name not in known]
    if unknown:
        raise BadParameter(
            f"labels: the model knows no class {unknown[0][:100]!r}; it knows {', '.join(known)}",
            parameter="labels",
        )
    return frozenset(wished) if wished else None
