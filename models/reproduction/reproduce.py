"""The paper's claims, and the project's own, measured on a model: part by part into JSON, resumable."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from models.config import AttentionConfig
from models.detector import Detector
from models.measurement.environment import run_environment
from models.reproduction.dense_features import dense_features

LARGEST_TIMES: Final = 1.2
"""The largest size of the trade-off in the model's own; with a dense feature map a letter page has 3536 tokens."""
FEATURE_TIMES: Final = (1.0, 1.4, 2.0, 2.6)
"""Sizes of what needs no ground truth: 638, 1240, 2508 and 4292 tokens with pages-small."""

NUMBERS: Final = re.compile(r"\[[-+\d.eE,\s]+\]")

Progress = Callable[[str, int, int], None]
"""Told the part's name, steps done, steps in all."""


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement: `settings` say what would make it come out otherwise, `measure` does it."""

    name: str
    settings: Mapping[str, Any]
    measure: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Resolution:
    """Images of this shortest side in pixels; `dense`: with four times the tokens (see `dense_features`)."""

    shortest_side: int
    dense: bool = False

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """Read what `str` writes: 352 or 352-dense. Raises ValueError."""
        side, dash, word = text.partition("-")
        if not side.isdigit() or int(side) < 32 or (dash and word != "dense"):
            raise ValueError(f"a size is a shortest side in pixels, from 32 on, or 352-dense, not {text!r}")
        return cls(int(side), bool(dash))

    def __str__(self) -> str:
        return f"{self.shortest_side}-dense" if self.dense else str(self.shortest_side)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to reproduce.

    `pages` at the model's own size `own_size`, fewer at larger ones; `data`: a folder, instead of generated pages.
    `sizes`: of the trade-off. `seeds`: hash seeds and K-means starts where these are varied.
    """

    own_size: int

    pages: int = 100
    data: str | None = None
    sizes: tuple[Resolution, ...] = ()
    seeds: int = 3
    quick: bool = False

    @property
    def tradeoff_sizes(self) -> tuple[Resolution, ...]:
        """The sizes given, or the model's own, that with more tokens, and a larger one with more tokens."""
        own, largest = self.own_size, 32 * round(self.own_size * LARGEST_TIMES / 32)
        return self.sizes or (Resolution(own), Resolution(own, dense=True), Resolution(largest, dense=True))

    @property
    def feature_sizes(self) -> tuple[int, ...]:
        """Where features and times are measured."""
        if self.quick:
            return tuple(size.shortest_side for size in self.tradeoff_sizes)
        return tuple(round(self.own_size * times) for times in FEATURE_TIMES)

    def quickly(self) -> Plan:
        """A plan of the same parts that takes about two minutes."""
        return replace(self, pages=min(self.pages, 6), sizes=self.tradeoff_sizes[:1], seeds=1, quick=True)


def run(
    parts: Sequence[Part],
    model: Mapping[str, str],
    output: Path,
    command: str,
    progress: Progress,
    device: str = "cpu",
) -> list[str]:
    """Measure every part whose JSON is not in the folder yet with the same settings and model; returns their names."""
    output.mkdir(parents=True, exist_ok=True)
    done = []
    for part in parts:
        file = output / f"{part.name}.json"
        settings = json.loads(json.dumps(part.settings))
        if _is_done(file, settings, model):
            continue
        progress(part.name, 0, 0)
        document = {
            "part": part.name,
            "model": dict(model),
            "settings": settings,
            "results": part.measure(),
            "circumstances": {**run_environment(torch.device(device)), "command": command},
        }
        write_whole(file, as_text(document))
        done.append(part.name)
    return done


def read_part(output: Path, name: str) -> Any:
    """A part's JSON, or None where it was not measured."""
    file = output / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def part_names(output: Path, prefix: str) -> Iterator[str]:
    """Names of the measured parts that begin so, in order of the numbers in them."""
    names = [file.stem for file in output.glob(f"{prefix}*.json")]
    yield from sorted(names, key=lambda name: [int(word) if word.isdigit() else 0 for word in name.split("-")])


def digest(detector: Detector) -> str:
    """Sixteen hex digits of the sha256 of a model's names, shapes and weights as it runs."""
    sha = hashlib.sha256()
    for name, tensor in sorted(detector.detr.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def at_resolution(detector: Detector, resolution: Resolution) -> Detector:
    """The same model for images of another size, with more tokens where that is asked for."""
    scaled = detector.with_sizes(resolution.shortest_side)
    return dense_features(scaled) if resolution.dense else scaled


def as_text(document: Any) -> str:
    """JSON with a line an entry, but lists of numbers on one."""
    text = json.dumps(rounded(document), indent=1)
    return NUMBERS.sub(lambda found: " ".join(found.group().split()), text) + "\n"


def rounded(value: Any, digits: int = 6) -> Any:
    """Dataclasses as mappings, and numbers to so many significant digits: what JSON files need and no more."""
    if is_dataclass(value) and not isinstance(value, AttentionConfig):
        return rounded({field.name: getattr(value, field.name) for field in fields(value)}, digits)
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def write_whole(file: Path, text: str) -> None:
    """Write all of a file or none: a run that is stopped leaves the old one."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)


def _is_done(file: Path, settings: Any, model: Mapping[str, str]) -> bool:
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
        return bool(there["settings"] == settings and there["model"]["sha256"] == model["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
