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

OfModel = tuple[Claim, Detector]
"""A claim and the model that it is about."""

ENCODER_CLAIMS: Final[tuple[Claim, ...]] = (OutputErrors(), AttentionTime(), Diversity(), CollisionRates())
NUMBERS: Final = re.compile(r"\[[-+\d.eE,\s]+\]")


def claims(detector: Detector, further: Sequence[Detector] = ()) -> Iterator[OfModel]:
    """Yield all claims about a model, cheap ones first, then the trade-offs of further models.

    A model with box refinement is measured without it too. The claim about the distilled model is there whether or not
    a plan has one. Raises ValueError where two models have one name, which would be one file.
    """
    names = [detector.name, *(other.name for other in further)]
    if len(set(names)) < len(names):
        raise ValueError(f"the names of models must differ, as those of their results do: {', '.join(names)}")
    yield from ((claim, detector) for claim in ENCODER_CLAIMS)
    if detector.config.box_refinement is not None:
        yield Tradeoff(detector.name, "unrefined"), detector
    yield Tradeoff(detector.name), detector
    yield Tradeoff(detector.name, "distilled"), detector
    yield from ((Tradeoff(other.name), other) for other in further)


def measure(chosen: Sequence[OfModel], plan: Plan, folder: Path, begin: Callable[[str], Progress]) -> list[str]:
    """Measure every claim whose JSON is not in the folder yet with the same settings and weights; return their names.

    `begin` is called with the name of each claim that is measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for claim, detector in chosen:
        model = {"name": detector.name, "sha256": weights_digest(detector)}
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
    """Return the claims whose JSON is in the folder: the trade-offs by number of tokens, then the others.

    Raises ValueError for a trade-off that is not of the model it names.
    """
    tradeoffs = [(Tradeoff.of(document), document) for document in map(_read, folder.glob("tradeoff-*.json"))]
    tradeoffs.sort(key=lambda one: (one[1]["results"]["rows"][0]["tokens"], one[0].name))
    others = [(claim, folder / f"{claim.name}.json") for claim in ENCODER_CLAIMS]
    return [*tradeoffs, *((claim, _read(file)) for claim, file in others if file.exists())]


def json_text(document: Any) -> str:
    """Write JSON with six significant digits and an entry a line, but lists of numbers on one line."""
    rounded = json.loads(json.dumps(document), parse_float=lambda text: float(f"{float(text):.6g}"))
    return NUMBERS.sub(lambda found: " ".join(found.group().split()), json.dumps(rounded, indent=1)) + "\n"


def _read(file: Path) -> Measured:
    document: Measured = json.loads(file.read_text(encoding="utf-8"))
    return document


def _is_measured(claim: Claim, folder: Path, settings: Any, model: Mapping[str, str]) -> bool:
    try:
        document = _read(folder / f"{claim.name}.json")
        return bool(document["settings"] == settings and document["model"]["sha256"] == model["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
