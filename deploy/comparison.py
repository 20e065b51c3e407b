"""What attention costs a caller: whole requests to services with the embedded models, in turns."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from rich.table import Table

from deploy.local_server import ROOT
from models.attention_config import AttentionConfig, AttentionMode
from models.named_models import named_config

EVALUATIONS: Final = ROOT / "models" / "pretrained" / "evaluation"
ROUNDS: Final = 5
LEAST_GAIN: Final = 1.05
"""From this many times as fast on, an attention is called faster than exact attention."""

WORDS: Final[dict[AttentionMode, str]] = {"tangent": "tangent attention", "merge": "merged tokens"}
"""The attention modes that are said to be faster, in words."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model with an attention: encoder tokens, median milliseconds of a request, AP in 0..1 by the model card.

    `ap` is None where no evaluation of the card has them.
    """

    model: str
    attention: AttentionConfig
    tokens: int
    milliseconds: float
    ap: float | None


def compare(clients: Mapping[str, httpx.Client], page: bytes, rounds: int = ROUNDS) -> list[Row]:
    """Send a JPEG to the service of each embedded model, by every attention with the model's own settings.

    Each is asked once per round, for `rounds` rounds, so that a slow spell of the machine hits all alike. A round
    before the first warms up.
    """
    settings = [(model, attention) for model in clients for attention in named_config(model).default_attentions]
    rows = [
        {setting: _request(clients[setting[0]], setting[1], page) for setting in settings} for _ in range(rounds + 1)
    ]
    made = []
    for model, attention in settings:
        answers = [row[model, attention] for row in rows[1:]]
        milliseconds = statistics.median(milliseconds for milliseconds, _ in answers)
        made.append(Row(model, attention, answers[0][1], milliseconds, evaluated_ap(model, attention)))
    return made


def evaluated_ap(model: str, attention: AttentionConfig, folder: Path = EVALUATIONS) -> float | None:
    """Return AP in 0..1 on the generated `pages` of the model card, None where it was not evaluated."""
    file = folder / model / "pages.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["evaluations"] if file.exists() else []
    by_setting = {row["setting"]: float(row["metrics"]["ap"]) for row in rows}
    return by_setting.get(str(attention))


def table(rows: Sequence[Row], rounds: int = ROUNDS) -> Table:
    """A row for each model and attention."""
    shown = Table("model", "attention", "encoder tokens", "ms", "AP", title="What attention costs")
    shown.caption = (
        f"ms: a whole request, median of {rounds}, asked in turns; AP: on generated pages, by the model card"
    )
    for row in rows:
        shown.add_row(
            row.model,
            str(row.attention),
            str(row.tokens),
            f"{row.milliseconds:.0f}",
            "-" if row.ap is None else f"{row.ap:.3f}",
        )
    return shown


def saved(rows: Sequence[Row], model: str) -> str:
    """Say how much faster the model answered with tangent attention and with merged tokens, where it did."""
    times = {row.attention.mode: row.milliseconds for row in rows if row.model == model}
    exact = times["exact"]
    gains = {WORDS[mode]: exact / times[mode] for mode in WORDS if exact / times[mode] >= LEAST_GAIN}
    if not gains:
        return f"On this machine {model} is fastest with exact attention ({exact:.0f} ms)."
    parts = " and ".join(f"{gain:.1f} times as fast with {words}" for words, gain in gains.items())
    return f"On this machine {model} answers {parts} as with exact attention."


def _request(client: httpx.Client, attention: AttentionConfig, page: bytes) -> tuple[float, int]:
    """Return the milliseconds of a request until its answer is read, and the tokens of the image."""
    options = {name: value for name, value in attention.options.items() if name in ("L", "r", "C", "ratio") and value}
    query = {"attention": attention.mode, **options}
    started = time.perf_counter()
    response = client.post("/detect", params=query, content=page, headers={"content-type": "image/jpeg"})
    milliseconds = (time.perf_counter() - started) * 1e3
    return milliseconds, int(response.raise_for_status().json()["attention"]["tokens"])
