"""Both clients against the service itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from PIL import Image

from service.client import AsyncClient, Client, CompareOptions, DetectionResult, DetectOptions, NoAnswer
from service.comparison_options import SIDES, CompareQuery
from service.detection_options import DetectQuery
from service.errors import BadParameter, NotFound, NotReady, TooManyBytes, Unauthorized, UndecodableImage


def test_both_clients_have_the_same_methods() -> None:
    sync, both = ({name for name in vars(kind) if not name.startswith("_")} for kind in (Client, AsyncClient))
    assert sync == both
    for name in sync:
        parameters = [list(inspect.signature(getattr(kind, name)).parameters) for kind in (Client, AsyncClient)]
        assert parameters[0] == parameters[1]


def test_the_options_are_those_of_the_query() -> None:
    options = get_type_hints(DetectOptions)
    query = get_type_hints(DetectQuery)
    assert options.keys() == query.keys()
    assert {name for name in options if options[name] != query[name]} == {"labels"}


def test_the_options_of_a_comparison_are_those_of_its_query() -> None:
    options, query = get_type_hints(CompareOptions), get_type_hints(CompareQuery)
    assert options.keys() | set(SIDES) == query.keys()
    assert {name for name in options if options[name] != query[name]} == {"labels"}


def test_two_settings_are_compared(client: Any, png: bytes) -> None:
    result = client.compare(png, "exact", "tangent", C=8, right_size=304, threshold=0, request_id="both")
    assert (result.left.attention.mode, result.right.attention.mode, result.right.attention.C) == (
        "exact",
        "tangent",
        8,
    )
    assert len(result.pairs) + len(result.only_left) == len(result.left.detections)
    with pytest.raises(BadParameter, match="right: 'best'"):
        client.compare(png, "exact", "best")


def test_an_image_is_detected_in_in_every_form(client: Any, png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Straße [1] 図.png"
    path.write_bytes(png)
    picture = Image.open(BytesIO(png))
    forms = (png, path, str(path), picture, np.asarray(picture))
    results = [client.detect(image, threshold=0) for image in forms]
    assert all(isinstance(result, DetectionResult) for result in results)
    assert {result.image.width for result in results} == {60}
    assert [row.label for row in results[0].detections] == ["figure", "text", "title"]
    assert all(result.detections == results[0].detections for result in results)


def test_options_reach_the_service(client: Any, png: bytes) -> None:
    result = client.detect(png, attention="act", L=16, r=4.0, metric="key", size=304, tiles="1x2", nms=1, threshold=0.2)
    attention = result.attention
    assert (attention.mode, attention.L, attention.r, attention.metric) == ("act", 16, 4.0, "key")
    assert (result.tiles.rows, result.tiles.columns) == (1, 2)
    for labels in (["text", "title"], ("text", "title"), "text, title"):
        result = client.detect(png, labels=labels, max_detections=5, threshold=0, deadline_ms=60_000)
        assert {row.label for row in result.detections} == {"text", "title"}


def test_masks_are_typed(connect: Callable[..., Any], start: Any, detector: Any, png: bytes) -> None:
    detector.mask_refusal = None
    with start() as server:
        client = connect(f"http://127.0.0.1:{server.port}")
        runs = client.detect(png, masks="rle").detections[0].segmentation
        polygons = client.detect(png, masks="polygons").detections[0].segmentation
    assert runs.size == (40, 60)
    assert len(polygons[0]) >= 6


def test_a_picture_is_drawn(client: Any, png: bytes) -> None:
    drawn = Image.open(BytesIO(client.detect_drawn(png, threshold=0)))
    assert (drawn.format, drawn.size) == ("PNG", (60, 40))


def test_a_bad_image_of_a_batch_fails_alone(client: Any, png: bytes) -> None:
    good, bad = client.detect_batch([png, b"\xff\xd8\xff junk"], threshold=0, request_id="batch-1")
    assert len(good.detections) == 3
    assert isinstance(bad, UndecodableImage)
    assert bad.request_id == "batch-1"


def test_the_model_and_health(client: Any) -> None:
    card = client.model()
    assert (card.name, card.labels[0]) == ("fake", "text")
    assert card.limits.max_queue == 128
    assert client.health().status == client.ready().status == "ok"


def test_an_unready_service_says_so_at_once(connect: Callable[..., Any], start: Any, detector: Any) -> None:
    detector.warm.clear()
    with start(warm=False) as server:
        client = connect(f"http://127.0.0.1:{server.port}")
        with pytest.raises(NotReady):
            client.ready()
        assert client.health().status == "ok"
        detector.warm.set()


def test_a_refusal_has_all_that_its_problem_has(client: Any) -> None:
    with pytest.raises(BadParameter) as refused:
        client.detect(b"junk", labels=["cat"], request_id="mine-7")
    error = refused.value
    assert (error.type, error.status, error.title) == ("bad-parameter", 422, "A parameter is invalid")
    assert (error.request_id, error.members) == ("mine-7", {"parameter": "labels"})
    assert error.headers["x-request-id"] == "mine-7"
    assert str(error) == (
        "labels: the model has no class 'cat'; its classes are text, title, list, table, figure (request mine-7)"
    )


def test_options_are_checked_before_anything_is_sent(connect: Callable[..., Any], png: bytes) -> None:
    client = connect("http://127.0.0.1:9")
    with pytest.raises(BadParameter) as refused:
        client.detect(png, threshold=2, treshold=0.1)
    assert str(refused.value) == (
        "threshold: Input should be less than or equal to 1; treshold: There is no such parameter"
    )
    with pytest.raises(BadParameter, match="size"):
        client.detect_many([], size=0)


def test_the_same_words_come_from_the_service(service: Any, png: bytes) -> None:
    problem = service.client.post("/detect", params={"threshold": 2, "treshold": 0.1}, content=png).json()
    assert problem["detail"] == (
        "threshold: Input should be less than or equal to 1; treshold: There is no such parameter"
    )


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_missing_or_wrong_key(connect: Callable[..., Any], start: Any, png: bytes, key: str | None) -> None:
    with start(api_key="right") as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(Unauthorized, match="Send an API key"):
            connect(url, api_key=key).detect(png)
        assert connect(url, api_key="right").detect(png).model == "fake"


def test_a_path_of_a_proxy_belongs_to_the_address(connect: Callable[..., Any], start: Any, png: bytes) -> None:
    with start(root_path="/vision/v1") as server:
        url = f"http://127.0.0.1:{server.port}"
        for path in ("", "/vision/v1", "/vision/v1/"):
            assert connect(url + path).detect(png).model == "fake"
        with pytest.raises(NotFound, match="This address does not exist"):
            connect(url + "/elsewhere").detect(png)


def test_a_large_body_is_refused_with_its_reason(connect: Callable[..., Any], start: Any) -> None:
    with start(max_bytes=1000) as server, pytest.raises(TooManyBytes) as refused:
        connect(f"http://127.0.0.1:{server.port}").detect(bytes(5_000_000))
    assert refused.value.members == {"limit": 1000}


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "localhost", "ftp://host", "http://", "http://host/?x=1", "http://host/#a", "http://h:x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(url)


@pytest.mark.parametrize("options", [{"api_key": "two keys"}, {"api_key": "schlüssel"}, {"api_key": "line\n"}])
def test_what_is_no_key_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="API key"):
        Client(**options)


def test_what_is_no_id_is_refused(client: Any, png: bytes) -> None:
    for wrong in ("", "a\nb", "ü", "x" * 129):
        with pytest.raises(ValueError, match="id"):
            client.detect(png, request_id=wrong)


def test_a_service_that_is_not_there(connect: Callable[..., Any], png: bytes) -> None:
    with pytest.raises(NoAnswer, match=r"http://127.0.0.1:9/detect: no connection: .* \(request mine\)") as refused:
        connect("http://user:secret@127.0.0.1:9").detect(png, request_id="mine")
    assert (refused.value.request_id, refused.value.url) == ("mine", "http://127.0.0.1:9/detect")


def test_own_connections_are_opened_and_closed(service: Any, png: bytes) -> None:
    with Client(f"http://127.0.0.1:{service.port}") as client:
        assert client.detect(png).model == "fake"
    with pytest.raises(RuntimeError, match="closed"):
        client.model()
