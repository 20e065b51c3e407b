"""NVIDIA's own clients of the Open Inference Protocol, as they come, and the embedded model behind a real server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import load_detector
from models.detections import Detections
from service.http.open_inference.request_schemas import OUTPUTS, InferRequest
from service.http.open_inference.responses import encode_response, output_tensors

pytest.importorskip("gevent", reason="tritonclient is not installed: pip install 'tritonclient[http]'")
triton = pytest.importorskip("tritonclient.http", reason="not installed: pip install 'tritonclient[http]'")
triton_aio = pytest.importorskip("tritonclient.http.aio", reason="not installed: pip install 'tritonclient[http]'")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

MODEL = "pages-small"
PAGE = (Path(__file__).parents[2] / "models" / "pretrained" / "sample-page.jpg").read_bytes()


@pytest.fixture(scope="module")
def server(run_server: Callable[..., Any]) -> Iterator[Any]:
    with run_server(load_detector(device="cpu"), max_batch_parts=4) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as connected:
        yield connected


def images(*files: bytes, binary: bool = True, library: Any = triton) -> list[Any]:
    array = np.array(files, dtype=object).reshape(-1, 1)
    tensor = library.InferInput("image", array.shape, "BYTES")
    tensor.set_data_from_numpy(array, binary_data=binary)
    return [tensor]


def rows(result: Any, image: int = 0) -> list[tuple[str, float, list[float]]]:
    """The detections of an image, rounded as those of /detect."""
    (n,) = result.as_numpy("num_detections")[image]
    labels, scores, boxes = (result.as_numpy(name)[image, :n] for name in ("labels", "scores", "boxes"))
    names = [label.decode() if isinstance(label, bytes) else label for label in labels]
    return list(zip(names, scores.astype(float).round(4), boxes.astype(float).round(2).tolist(), strict=True))


def detected(server: Any, query: str = "", page: bytes = PAGE) -> list[tuple[str, float, list[float]]]:
    answer = server.client.post("/detect?" + query, content=page).json()
    return [(row["label"], row["score"], list(row["box"].values())) for row in answer["detections"]]


def test_the_server_and_the_model_are_found(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "act-detr"
    metadata = client.get_model_metadata(MODEL)
    assert [row["name"] for row in metadata["outputs"]] == list(OUTPUTS)
    assert client.get_model_config(MODEL, "1")["max_batch_size"] == 4


@pytest.mark.parametrize("binary", [True, False])
def test_detections_are_those_of_detect(server: Any, client: Any, binary: bool) -> None:
    page = PAGE if binary else base64.b64encode(PAGE)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
    result = client.infer(MODEL, images(page, binary=binary), outputs=wanted, request_id="page 1")
    expected = detected(server)
    assert len(expected) > 5
    assert rows(result) == expected
    assert result.get_response()["id"] == "page 1"
    report = json.loads(result.as_numpy("report")[0, 0])
    assert report["image"] == {"width": 816, "height": 1056}
    assert result.get_response()["parameters"]["attention"].startswith(report["attention"]["mode"])


def test_several_images_are_padded_to_the_one_that_has_most(server: Any, client: Any, encoded: Any) -> None:
    blank = encoded("L", (300, 400))
    result = client.infer(MODEL, images(blank, PAGE))
    assert rows(result, 1) == detected(server)
    assert rows(result, 0) == detected(server, page=blank)
    assert result.as_numpy("boxes").shape == (2, max(result.as_numpy("num_detections"))[0], 4)


def test_parameters_are_options(server: Any, client: Any) -> None:
    options = {"attention": "act", "L": 16, "threshold": 0.7, "labels": "text,title", "max_detections": 3}
    wanted = [triton.InferRequestedOutput(name) for name in ("num_detections", "labels", "scores", "boxes")]
    result = client.infer(MODEL, images(PAGE), outputs=wanted, parameters=options, timeout=30_000_000)
    assert rows(result) == detected(server, "&".join(f"{name}={value}" for name, value in options.items()))
    assert result.as_numpy("report") is None
    assert result.get_response()["parameters"]["attention"].startswith("act:L=16")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ({"parameters": {"attention": "exact", "L": 3}}, "422", "bad-parameter: `L` is only valid with attention=act"),
        ({"priority": 1}, "422", "bad-parameter: parameters.priority: not supported"),
        ({"sequence_id": 7, "sequence_start": True}, "422", "bad-parameter: parameters.sequence_id: not supported"),
        ({"timeout": 1}, "504", "deadline-passed: The deadline passed"),
        ({"model_version": "2"}, "404", "not-found: pages-small has no version '2'"),
        ({"request_compression_algorithm": "gzip"}, "415", "unsupported-encoding: A body with Content-Encoding 'gzip'"),
    ],
)
def test_errors_arrive_as_the_clients_exception(client: Any, arguments: Any, status: str, said: str) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.infer(MODEL, images(PAGE), **arguments)
    assert refused.value.status() == status
    assert refused.value.message().startswith(said)


def test_pixels_and_shared_memory_are_refused_with_the_reason(client: Any) -> None:
    pixels = triton.InferInput("image", [1, 8, 8, 3], "UINT8")
    pixels.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InferenceServerException, match="must be BYTES, not 'UINT8': send image files"):
        client.infer(MODEL, [pixels])
    (shared,) = images(PAGE)
    shared.set_shared_memory("region", 100)
    with pytest.raises(InferenceServerException, match="shared memory is not supported"):
        client.infer(MODEL, [shared])
    for call in (client.get_model_repository_index, client.get_system_shared_memory_status, client.get_log_settings):
        with pytest.raises(InferenceServerException, match="this extension of the protocol is not supported"):
            call()


def test_a_key_is_sent_as_a_header(run_server: Callable[..., Any], detector: Any) -> None:
    with run_server(detector, api_key="secret") as locked:
        client = triton.InferenceServerClient(f"127.0.0.1:{locked.port}")
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException) as refused:
            client.get_model_metadata("tiny")
        assert refused.value.status() == "401"
        assert client.get_model_metadata("tiny", headers={"x-api-key": "secret"})["name"] == "tiny"
        client.close()


def test_asynchronous_requests_run_at_once(server: Any, client: Any) -> None:
    thresholds = (0.3, 0.6, 0.9)
    running = [client.async_infer(MODEL, images(PAGE), parameters={"threshold": value}) for value in thresholds]
    for request, threshold in zip(running, thresholds, strict=True):
        assert rows(request.get_result()) == detected(server, f"threshold={threshold}")


def test_the_asyncio_client_gets_the_same(server: Any) -> None:
    async def infer() -> tuple[Any, str]:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_model_ready(MODEL)
            result = await client.infer(MODEL, images(PAGE, library=triton_aio))
            with pytest.raises(InferenceServerException) as refused:
                await client.infer(MODEL, images(b"no image", library=triton_aio))
            return result, refused.value.message()

    result, said = asyncio.run(infer())
    assert rows(result) == detected(server)
    assert said.startswith("unsupported-image-type: ")


def test_the_documented_example_prints_detections_and_the_attention(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[2] / "docs" / "open-inference.md").read_text(encoding="utf-8")
    code = document.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "page.jpg").write_bytes(PAGE)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("localhost:8000", f"127.0.0.1:{server.port}"), {})
    *printed, parameters = capsys.readouterr().out.splitlines()
    assert len(printed) == len(detected(server, "attention=tangent&C=16&threshold=0.95")) > 3
    assert printed[0].startswith("text 1.0 [")
    assert "'attention': 'tangent:C=16'" in parameters


def test_statistics_grow_with_what_was_answered(client: Any) -> None:
    def inferences() -> tuple[int, int]:
        (stats,) = client.get_inference_statistics(MODEL)["model_stats"]
        return stats["inference_count"], stats["inference_stats"]["success"]["count"]

    images_before, requests_before = inferences()
    client.infer(MODEL, images(PAGE, PAGE))
    assert inferences() == (images_before + 2, requests_before + 1)


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    wanted=st.lists(st.tuples(st.sampled_from(list(OUTPUTS)), st.booleans()), unique_by=lambda row: row[0]),
    default=st.booleans(),
)
def test_the_client_reads_every_response_as_it_was_meant(
    counts: list[int], wanted: list[tuple[str, bool]], default: bool
) -> None:
    random = np.random.default_rng(0)
    detections = [
        Detections(random.random((n, 4), np.float32), random.random(n, np.float32), ("título",) * n) for n in counts
    ]
    tensors = output_tensors(detections, ("text", "título"), [f"é{n}" for n in counts])
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]}
    asked = InferRequest.model_validate(
        {
            "inputs": [tensor],
            "parameters": {"binary_data_output": default},
            "outputs": [{"name": name, "parameters": {"binary_data": binary}} for name, binary in wanted],
        }
    )
    body, header_length = encode_response(asked, tensors, (MODEL, "1"), {})
    read = triton.InferenceServerClient.parse_response_body(body, header_length=header_length)
    names = {name for name, _ in wanted} or set(OUTPUTS)
    for one in tensors:
        values = read.as_numpy(one.name)
        if one.name not in names:
            assert values is None
        elif one.datatype == "BYTES":
            texts = [text.decode() if isinstance(text, bytes) else text for text in values.ravel()]
            assert (texts, values.shape) == (one.data, one.values.shape)
        else:
            assert np.array_equal(values, one.values)
            assert values.dtype == one.values.dtype or not values.size  # of nothing, the client makes float64
