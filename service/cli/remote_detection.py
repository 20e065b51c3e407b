"""Detection in files by a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from service.cli.detection_source import DetectionSource
from service.client import Client, FileOutcome, NoAnswer, RetryPolicy
from service.errors import BadParameter, NotFound, Unauthorized

_PATIENT: Final = RetryPolicy(attempts=1000, total_seconds=300, max_delay=30)
"""A service that is restarted or overloaded costs a long run time, and no files."""
_OF_ALL: Final = (BadParameter, NotFound, Unauthorized)
"""Refusals of the request, whatever the image: every other file would be refused as well."""


def remote_source(url: str, api_key: str | None, concurrency: int, given: Mapping[str, Any]) -> DetectionSource:
    """Ask a service for its model; of several keys, comma-separated as the service has them, the first is sent.

    Raises ValueError for what is no address or key, ServiceError for a refusal, and NoAnswer.
    """
    key = (api_key or "").split(",")[0].strip()
    with Client(url, api_key=key) as client:
        card = client.model()

    def outcomes(files: Sequence[Path], drawn: bool) -> Iterator[FileOutcome]:
        with Client(url, api_key=key, retry=_PATIENT) as client:
            for outcome in client.detect_many(files, concurrency=concurrency, drawn=drawn, **given):
                if isinstance(outcome.error, _OF_ALL):
                    raise outcome.error
                if isinstance(outcome.error, NoAnswer):
                    client.health()  # raises if the service has gone: no other file would get an answer either
                yield outcome

    return DetectionSource(card.name, card.category_ids, outcomes)
