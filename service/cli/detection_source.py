"""What detects: a detector of this process, or a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client import FileOutcome


@dataclass(frozen=True, slots=True)
class DetectionSource:
    """The name of the model, COCO's id of each class, and a function (files, drawn) that yields what comes of them.

    Outcomes are in the order of the files, `drawn` with pictures. It raises ServiceError and NoAnswer where no file can
    be detected in any more.
    """

    model: str
    categories: Mapping[str, int]
    outcomes: Callable[[Sequence[Path], bool], Iterator[FileOutcome]]
