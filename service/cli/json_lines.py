"""Results of files as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.http.schemas import DetectionResult


def json_line(path: Path, result: DetectionResult, stamp: Mapping[str, Any] | None = None) -> str:
    """Return `file`, what `stamp` has, and the answer of `/detect`, without a line break.

    A name that is not Unicode is escaped, so that reading the line gives it back.
    """
    row = {"file": str(path), **(stamp or {}), **result.model_dump()}
    text = json.dumps(row, ensure_ascii=False)
    return text if _is_unicode(text) else json.dumps(row)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
