"""Whether two servers answer the same detections for an image."""

from __future__ import annotations

import json
from typing import Any, Final

from deploy.loadtest.exchange import Target, exchange

TOLERANCE: Final = 1e-3
"""Pixels of a box, and score, by which results may differ."""
_BOX_STEP: Final = 0.01
_SCORE_STEP: Final = 1e-4
"""The service rounds its answers: results that differ by less than the tolerance may be a step apart."""
PATIENCE_SECONDS: Final = 60.0

Detection = dict[str, Any]


def difference(expected: list[Detection], got: list[Detection]) -> str | None:
    """Describe the first difference of two lists of detections, in any order; None where they are the same."""
    if len(expected) != len(got):
        return f"{len(got)} detections instead of {len(expected)}"
    left = list(got)
    for one in expected:
        match = next((other for other in left if _same(one, other)), None)
        if match is None:
            return f"no detection is {one}"
        left.remove(match)
    return None


def _same(one: Detection, other: Detection) -> bool:
    near = abs(one["score"] - other["score"]) <= TOLERANCE + _SCORE_STEP
    sides = all(abs(one["box"][side] - other["box"][side]) <= TOLERANCE + _BOX_STEP for side in one["box"])
    return one["label"] == other["label"] and near and sides


async def detections(target: Target, path: str, image: bytes) -> list[Detection]:
    """Ask a server for the detections in an image. Raises SystemExit where it does not answer them."""
    answer = await exchange(target, "POST", path, image, patience=PATIENCE_SECONDS)
    if answer.status != 200:
        raise SystemExit(
            f"the answer is {answer.failure or answer.status}: {answer.body[:500].decode(errors='replace')}"
        )
    rows: list[Detection] = json.loads(answer.body)["detections"]
    return rows


async def all_detections(target: Target, path: str, images: tuple[bytes, ...]) -> list[list[Detection]]:
    """Ask a server for the detections in each image, one after the other."""
    return [await detections(target, path, image) for image in images]


def expect_same(name: str, expected: list[list[Detection]], got: list[list[Detection]]) -> None:
    """Raise SystemExit unless a server's detections are the expected ones for every image."""
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        if described := difference(one, other):
            raise SystemExit(f"{name} answers image {index} otherwise than the service: {described}")
