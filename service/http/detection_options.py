"""From a query to a wish: defaults filled in, combinations checked."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from models.config import AttentionConfig
from service.errors import BadParameter
from service.http.schemas import AttentionChoice, DetectQuery
from service.pipeline import Wish

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
    """The classes to keep, as the model spells them; accents may be composed or not. None: all."""
    spelled = {unicodedata.normalize("NFC", name).strip(): name for name in known}
    names = [name for value in wished for name in _names(unicodedata.normalize("NFC", value), spelled)]
    if not all(names):
        raise BadParameter("labels: a name is empty", parameter="labels")
    unknown = [name for name in names if name not in spelled]
    if unknown:
        raise BadParameter(
            f"labels: the model knows no class {unknown[0][:100]!r}; it knows {', '.join(known)}",
            parameter="labels",
        )
    return frozenset(spelled[name] for name in names) if names else None


def _names(value: str, known: Collection[str]) -> Iterator[str]:
    """Yield what commas separate, except where a class has commas in its name: the longest that is known counts."""
    parts = value.split(",")
    most = max((name.count(",") for name in known), default=0) + 1
    start = 0
    while start < len(parts):
        runs = (",".join(parts[start : start + length]).strip() for length in range(most, 1, -1))
        name = next((run for run in runs if run in known), parts[start].strip())
        yield name
        start += 1 + name.count(",")
