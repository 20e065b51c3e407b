"""What came of one file of many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError
from service.http.schemas import DetectionResult


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The `result` of a file, or the `error` that it failed with: one of them is None.

    `drawn` is the PNG with boxes, where it was asked for.
    """

    path: Path
    result: DetectionResult | None = None
    error: ServiceError | OSError | None = None
    drawn: bytes | None = None

    def unwrap(self) -> DetectionResult:
        """Return the result. Raises the error."""
        if self.result is None:
            raise self.error or ValueError("an outcome has a result or an error")
        return self.result
