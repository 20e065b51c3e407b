from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.attention_config import AttentionConfig

Encode = Callable[..., bytes]


def ask(service: Any, image: bytes, query: str = "") -> dict[str, Any]:
    """Return the answer without what time and company change."""
    response = service.client.post("/detect?threshold=0&" + query, content=image)
    assert response.status_code == 200, response.text
    return {name: value for name, value in response.json().items() if name not in ("timing_ms", "batch_size")}


def test_the_response_has_the_detectors_results(service: Any, detector: Any, encoded: Encode) -> None:
    image = encoded(size=(200, 150))
    answer = ask(service, image, "attention=act&L=4&r=2")
    prediction = detector.detect(np.asarray(Image.open(BytesIO(image))), AttentionConfig.act(4, 2.0))
    rows = [(row["label"], row["score"], list(row["box"].values())) for row in answer["detections"]]
    assert len(rows) == detector.config.queries
    for (label, score, box), (true_label, true_score, true_box) in zip(rows, prediction.detections, strict=True):
        assert label == true_label
        assert score == pytest.approx(true_score, abs=1e-4)
        assert box == pytest.approx(true_box, abs=0.01)
    assert answer["attention"]["tokens"] == prediction.attention.tokens
    assert [row["layer"] for row in answer["attention"]["clusters"]] == [0, 1]


def test_a_batch_has_the_results_of_single_requests(service: Any, encoded: Encode) -> None:
    images = [encoded(size=size) for size in ((50, 80), (120, 60), (64, 64))]
    singles = [ask(service, image, "attention=act") for image in images]
    files = [("image", image) for image in images]
    response = service.client.post("/detect/batch?threshold=0&attention=act", files=files)
    for row, single in zip(response.json()["results"], singles, strict=True):
        assert {name: row[name] for name in single} == single


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3000, 1), (2, 999), (17, 16)])
def test_odd_sizes_are_answered(service: Any, encoded: Encode, size: tuple[int, int]) -> None:
    for query in ("attention=exact", "attention=act"):
        answer = ask(service, encoded(size=size), query)
        assert answer["image"] == {"width": size[0], "height": size[1]}
        for row in answer["detections"]:
            box = row["box"]
            assert 0 <= box["xmin"] <= box["xmax"] <= size[0]
            assert 0 <= box["ymin"] <= box["ymax"] <= size[1]
