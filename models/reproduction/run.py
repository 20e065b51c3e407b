"""Measure claims into JSON, claim by claim, and draw tables and figures from the JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from models.detector import Detector
from models.evaluation.weights_digest import weights_digest
from models.measurement.environment import run_environment
from models.reproduction.attention_time import AttentionTime
from models.reproduction.claim import Claim, Measured, Plan, Progress
from models.reproduction.collision_rates import CollisionRates
from models.reproduction.diversity import Diversity
from models.reproduction.output_error import OutputErrors
from models.reproduction.style import save, styled
from models.reproduction.tradeoff import Tradeoff
from models.whole_file import whole_file

ENCODER_CLAIMS: Final[tuple[Claim, ...]] = (OutputErrors(), AttentionTime(), Diversity(), CollisionRates())
NUMBERS: Final = re.compile(r"\[[-+\d.eE,\s]+\]")


def claims(plan: Plan, detector: Detector) -> Iterator[Claim]:
    """Yield all claims of a plan, cheap ones first.

    A model with box refinement is measured without it too, at the first size. Those of the distilled model are there
    whether or not the plan has one.
    """
    yield from ENCODER_CLAIMS
    if detector.config.box_refinement is not None:
        yield Tradeoff(plan.tradeoff_sizes[0], "unrefined")
    for size in plan.tradeoff_sizes:
        yield Tradeoff(size)
        yield Tradeoff(size, "distilled")


def measure(
    chosen: Sequence[Claim], detector: Detector, plan: Plan, folder: Path, begin: Callable[[str], Progress]
) -> list[str]:
    """Measure every claim whose JSON is not in the folder yet with the same settings and weights; return their names.

    `begin` is called with the name of each claim that is measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = {"name": detector.name, "sha256": weights_digest(detector)}
    names = []
    for claim in chosen:
        settings = json.loads(json.dumps(claim.settings(detector, plan)))
        if _is_measured(claim, folder, settings, model):
            continue
        document = {
            "claim": claim.name,
            "model": model,
            "settings": settings,
            "results": claim.measure(detector, plan, begin(claim.name)),
            "environment": run_environment(torch.device(detector.device)),
        }
        with whole_file(folder / f"{claim.name}.json") as part:
            part.write_text(json_text(document), encoding="utf-8")
        names.append(claim.name)
    return names


def draw(folder: Path) -> list[Path]:
    """Draw the tables and figures of all claims whose JSON is in the folder, and return the files.

    Raises ValueError where there is none.
    """
    measured = measured_claims(folder)
    if not measured:
        raise ValueError(f"{folder} has no results to draw")
    files = [folder / "tables.md"]
    with whole_file(files[0]) as part:
        part.write_text(tables(measured), encoding="utf-8")
    with styled():
        for claim, document in measured:
            for name, figure in claim.figures(document).items():
                files.append(folder / f"{name}.svg")
                save(figure, files[-1])
    return files


def tables(measured: Sequence[tuple[Claim, Measured]]) -> str:
    """Return the Markdown of all tables."""
    blocks = [block for claim, document in measured for block in claim.tables(document)]
    return "\n\n".join(["<!-- made by `python -m models.reproduction --draw-only` -->", *blocks]) + "\n"


def measured_claims(folder: Path) -> list[tuple[Claim, Measured]]:
    """Return the claims whose JSON is in the folder: the trade-offs by size, then the others."""
    tradeoffs = [Tradeoff.parse(file.stem) for file in folder.glob("tradeoff-*.json")]
    tradeoffs.sort(key=lambda one: (one.resolution.shortest_side, one.resolution.dense, one.variant))
    known: list[tuple[Claim, Path]] = [
        (claim, folder / f"{claim.name}.json") for claim in (*tradeoffs, *ENCODER_CLAIMS)
    ]
    return [(claim, json.loads(file.read_text(encoding="utf-8"))) for claim, file in known if file.exists()]


def json_text(document: Any) -> str:
    """Write JSON with six significant digits and an entry a line, but lists of numbers on one line."""
    rounded = json.loads(json.dumps(document), parse_float=lambda text: float(f"{float(text):.6g}"))
    return NUMBERS.sub(lambda found: " ".join(found.group().split()), json.dumps(rounded, indent=1)) + "\n"


def _is_measured(claim: Claim, folder: Path, settings: Any, model: Mapping[str, str]) -> bool:
    try:
        document = json.loads((folder / f"{claim.name}.json").read_text(encoding="utf-8"))
        return bool(document["settings"] == settings and document["model"]["sha256"] == model["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
