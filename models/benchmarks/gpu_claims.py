"""The claims that `gpu_check.sh` decides, from the files it writes: `python -m models.benchmarks.gpu_claims FOLDER`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.measurement.results import write_results

Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """What was measured against its bound; `value` is None, and `met` false, where its file is missing or unfit."""

    name: str
    value: float | None
    bound: float
    met: bool


def over_transformers(results: Results) -> float:
    """How many times as fast as transformers ours is with exact attention."""
    return _rate(results, "ours, exact") / _rate(results, "transformers")


def difference_from_transformers(results: Results) -> float:
    """The larger difference of ours and of transformers from the reference, in a class's probability or a box."""
    rows = [row for row in results["engines"] if row["engine"] in ("ours, exact", "transformers")]
    if len(rows) != 2:
        raise KeyError("transformers")
    return float(max(max(row["scores"], row["boxes"]) for row in rows))


def one_call_speed(results: Results) -> float:
    """How many times as fast encoder and decoder are in one call as one image after another."""
    rows = {row["engine"]: row["transformer_ms"] for row in results["rows"]}
    return float(rows["one after another"]["median"] / rows["one call"]["median"])


def unequal_over_transformers(results: Results) -> float:
    """How many times as fast as transformers, which pads, ours is in one call."""
    rows = {row["engine"]: row["images_per_second"] for row in results["rows"]}
    return float(rows["one call"] / rows["transformers, padded"])


def one_call_difference(results: Results) -> float:
    """The larger difference of one call from one image after another, in a class's probability or a box."""
    (row,) = (row for row in results["rows"] if row["engine"] == "one call")
    return float(max(row["scores"], row["boxes"]))


def http_share(results: Results) -> float:
    """The best share of the loop's images a second that callers through HTTP got."""
    return float(max(row["share"] for row in results["rows"] if row["callers"] > 0))


def tangent_speed(least: int, below: float) -> Callable[[Results], float]:
    """How many times as fast as exact attention the fastest tangent attention is, at `least` to `below` tokens."""

    def speed(results: Results) -> float:
        ratios = [
            row["time_ratio"]
            for row in results["measurements"]
            if row["attention"].startswith("tangent") and least <= row["tokens"] < below
        ]
        return 1 / float(min(ratios))

    return speed


CLAIMS: Final[tuple[tuple[str, str, Callable[[Results], float], float, bool], ...]] = (
    ("detr", "detr-bf16", over_transformers, 2.0, True),
    ("outputs", "detr-fp32", difference_from_transformers, 1e-3, False),
    ("unequal", "unequal-bf16", one_call_speed, 1.5, True),
    ("unequal-detr", "unequal-bf16", unequal_over_transformers, 1.5, True),
    ("unequal-outputs", "unequal-bf16", one_call_difference, 0.05, False),
    ("http", "http", http_share, 0.85, True),
    ("tangent-16k", "tangent", tangent_speed(16_000, float("inf")), 3.0, True),
    ("tangent-4k", "tangent", tangent_speed(4_000, 16_000), 1.3, True),
)
"""Name, file, measure, bound, and whether the bound is the least (or the largest) value that meets the claim."""


def decide(folder: Path) -> list[Claim]:
    """Decide every claim by the files of a folder."""
    claims = []
    for name, file, measure, bound, at_least in CLAIMS:
        try:
            value = measure(json.loads((folder / f"{file}.json").read_text(encoding="utf-8")))
        except (OSError, KeyError, ValueError):  # max of nothing is a ValueError
            claims.append(Claim(name, None, bound, met=False))
            continue
        claims.append(Claim(name, value, bound, met=value >= bound if at_least else value <= bound))
    return claims


def _rate(results: Results, engine: str) -> float:
    return float({row["engine"]: row["images_per_second"] for row in results["engines"]}[engine])


def main(argv: Sequence[str] | None = None) -> int:
    """Write claims.json, print it, and return 0 if all claims are met and no step failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--failed", nargs="*", default=[], help="steps that failed")
    arguments = parser.parse_args(argv)
    claims = decide(arguments.folder)
    document = {"failed_steps": arguments.failed, "claims": [asdict(claim) for claim in claims]}
    write_results(arguments.folder / "claims.json", document)
    for claim in claims:
        state = "met" if claim.met else "not measured" if claim.value is None else "not met"
        print(f"{claim.name}: {'-' if claim.value is None else f'{claim.value:.4g}'} (bound {claim.bound:g}): {state}")
    print("failed steps:", ", ".join(arguments.failed) or "none")
    return int(bool(arguments.failed) or not all(claim.met for claim in claims))


if __name__ == "__main__":
    raise SystemExit(main())
