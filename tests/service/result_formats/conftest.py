"""An answer of /detect, as its JSON is read."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def answer() -> dict[str, Any]:
    """Two objects in an image of 200 x 100 pixels."""
    return {
        "detections": [
            {"label": "table", "score": 0.9, "box": {"xmin": 20.0, "ymin": 10.5, "xmax": 120.01, "ymax": 60.0}},
            {"label": "text", "score": 0.6, "box": {"xmin": 0.0, "ymin": 0.0, "xmax": 200.0, "ymax": 100.0}},
        ],
        "image": {"width": 200, "height": 100},
        "model": "pages-small",
    }
