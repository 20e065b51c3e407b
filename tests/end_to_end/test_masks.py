"""Masks of a DETR for segmentation, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.attention_config import AttentionConfig
from models.data.segmentation import decoded_counts
from models.detector import Detector
from models.detr.mask_head import MaskHead
from models.masks.forms import segmentations

Encode = Callable[..., bytes]
QUERY = "/detect?threshold=0&attention=exact"


@pytest.fixture(scope="module")
def segmenting_service(run_server: Callable[..., Any], segmenting: Detector) -> Iterator[Any]:
    with run_server(segmenting) as server:
        yield server


def masks_of(segmenting: Detector, image: bytes) -> Any:
    pixels = np.asarray(Image.open(BytesIO(image)))
    return segmenting.detect(pixels, AttentionConfig.exact(), masks=True).detections.masks


def decoded(runs: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = runs["size"]
    counts = decoded_counts(runs["counts"])
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def test_every_detection_has_its_mask_in_the_form_asked_for(
    segmenting_service: Any, segmenting: Detector, encoded: Encode
) -> None:
    image = encoded(size=(90, 70))
    masks = masks_of(segmenting, image)
    runs, polygons = (
        [
            row["segmentation"]
            for row in segmenting_service.client.post(f"{QUERY}&masks={form}", content=image).json()["detections"]
        ]
        for form in ("rle", "polygons")
    )
    assert len(runs) == len(masks) == segmenting.config.queries
    assert all(np.array_equal(decoded(one), mask) for one, mask in zip(runs, masks, strict=True))
    assert 0 < np.mean([mask.mean() for mask in masks]) < 1
    assert polygons == segmentations(masks, "polygons")


def test_only_the_detections_asked_for_come_with_masks(segmenting_service: Any, encoded: Encode) -> None:
    image = encoded(size=(90, 70))
    every, few = (
        segmenting_service.client.post(f"{QUERY}&masks=rle{rest}", content=image).json()["detections"]
        for rest in ("", "&max_detections=2")
    )
    assert few == every[:2]


def test_without_the_parameter_there_are_no_masks_and_boxes_are_the_same(
    segmenting_service: Any, encoded: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = encoded(size=(90, 70))
    rows = segmenting_service.client.post(f"{QUERY}&masks=rle", content=image).json()["detections"]
    monkeypatch.setattr(MaskHead, "forward", None)
    plain = segmenting_service.client.post(QUERY, content=image).json()["detections"]
    assert plain == [{name: value for name, value in row.items() if name != "segmentation"} for row in rows]


def test_the_images_of_a_batch_have_masks_of_their_own(segmenting_service: Any, encoded: Encode) -> None:
    images = [encoded(size=size) for size in ((50, 80), (120, 60))]
    query = QUERY.replace("/detect", "/detect/batch") + "&masks=rle"
    answer = segmenting_service.client.post(query, files=[("image", image) for image in images])
    for image, result in zip(images, answer.json()["results"], strict=True):
        alone = segmenting_service.client.post(f"{QUERY}&masks=rle", content=image).json()
        assert result["detections"] == alone["detections"]


def test_a_png_shows_masks(segmenting_service: Any, encoded: Encode) -> None:
    image = encoded(size=(90, 70))
    drawn, plain = (
        segmenting_service.client.post(query, content=image, headers={"Accept": "image/png"}).content
        for query in (f"{QUERY}&masks=rle", QUERY)
    )
    assert Image.open(BytesIO(drawn)).size == (90, 70)
    assert drawn != plain


def test_the_model_says_whether_it_has_masks(segmenting_service: Any, service: Any, encoded: Encode) -> None:
    assert segmenting_service.client.get("/model").json()["masks"] == ["rle", "polygons"]
    assert service.client.get("/model").json()["masks"] == []
    refused = service.client.post(f"{QUERY}&masks=rle", content=encoded())
    assert refused.status_code == 422
    assert refused.json()["type"] == "bad-parameter"
    assert "a DETR for segmentation does" in refused.json()["detail"]


def test_masks_of_tiles_are_refused(segmenting_service: Any, encoded: Encode) -> None:
    refused = segmenting_service.client.post(f"{QUERY}&masks=rle&tiles=1x2", content=encoded())
    assert refused.status_code == 422
    assert "cannot be combined with tiles" in refused.json()["detail"]
