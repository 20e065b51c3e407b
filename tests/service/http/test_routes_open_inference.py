from __future__ import annotations

import base64
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from service.errors import all_errors
from service.http.open_inference.wire_format import encode_elements

INFER = "/v2/models/fake/infer"


def inference(*files: bytes, **parameters: Any) -> dict[str, Any]:
    data = [base64.b64encode(file).decode() for file in files]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(files)], "data": data}
    return {"inputs": [tensor], "parameters": parameters}


def outputs(response: Any) -> dict[str, Any]:
    """The outputs of a JSON response, shaped."""
    assert response.status_code == 200, response.text
    return {row["name"]: np.array(row["data"]).reshape(row["shape"]) for row in response.json()["outputs"]}


def error(response: Any, status: int, cause: str) -> str:
    """Assert that the response is this error in the protocol's form, and return what it says."""
    body = response.json()
    assert (response.status_code, list(body)) == (status, ["error"]), response.text
    assert response.headers["content-type"] == "application/json"
    kind, _, explanation = body["error"].partition(": ")
    assert kind == cause
    return str(explanation)


def test_detections_are_those_of_detect(service: Any, png: bytes) -> None:
    wanted = service.client.post("/detect?attention=act&threshold=0", content=png).json()
    response = service.client.post(INFER, json=inference(png, attention="act", threshold=0))
    found = outputs(response)
    rows = wanted["detections"]
    assert found["num_detections"].tolist() == [[len(rows)]]
    assert found["labels"].tolist() == [[row["label"] for row in rows]]
    assert found["scores"][0].round(4).tolist() == [row["score"] for row in rows]
    assert found["boxes"][0].round(2).tolist() == [list(row["box"].values()) for row in rows]
    assert found["class_ids"].tolist() == [[4, 0, 1]]
    report = json.loads(found["report"][0, 0])
    assert set(report) == set(wanted) - {"detections"}
    assert report["attention"] == wanted["attention"]
    parameters = response.json()["parameters"]
    assert parameters["attention"] == "act:L=32,r=8"
    assert parameters["total_ms"] >= report["timing_ms"]["total"] > 0


def test_images_of_a_request_run_together_and_are_answered_in_order(start: Any, detector: Any, encoded: Any) -> None:
    images = [encoded(size=(20 + 10 * index, 40), seed=index) for index in range(4)]
    with start(max_delay_ms=2000, max_batch=4, preprocess_threads=4) as server:
        found = outputs(server.client.post(INFER, json=inference(*images)))
        assert server.metric("act_detr_images_total", attention="exact") == 4
    assert [json.loads(report)["image"]["width"] for report in found["report"][:, 0]] == [20, 30, 40, 50]
    assert sum(size for size, _ in detector.batches) == 4


def test_a_binary_request_gets_what_a_json_request_gets(service: Any, png: bytes) -> None:
    plain = inference(png, threshold=0)
    binary = encode_elements([png])
    header = json.dumps(
        {
            "inputs": [
                {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(binary)}}
            ],
            "parameters": {"threshold": 0},
            "outputs": [{"name": "boxes", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = service.client.post(
        INFER, content=header + binary, headers={"inference-header-content-length": str(len(header))}
    )
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    boxes = np.frombuffer(answer.content[length:], "<f4").reshape(output["shape"])
    assert np.array_equal(boxes, outputs(service.client.post(INFER, json=plain))["boxes"].astype(np.float32))


def test_the_id_comes_back(service: Any, png: bytes) -> None:
    assert service.client.post(INFER, json=inference(png) | {"id": "é 42"}).json()["id"] == "é 42"
    assert "id" not in service.client.post(INFER, json=inference(png)).json()


def test_no_detection_is_an_empty_tensor(service: Any, png: bytes) -> None:
    found = outputs(service.client.post(INFER, json=inference(png, threshold=1.0)))
    assert found["num_detections"].tolist() == [[0]]
    assert (found["boxes"].shape, found["labels"].shape) == ((1, 0, 4), (1, 0))


@pytest.mark.parametrize("path", ["/v2/models/fake", "/v2/models/fake/versions/1"])
def test_metadata_declare_what_infer_takes_and_gives(service: Any, png: bytes, path: str) -> None:
    metadata = service.client.get(path).json()
    assert (metadata["name"], metadata["versions"], metadata["platform"]) == ("fake", ["1"], "act-detr")
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}]
    found = service.client.post(path + "/infer", json=inference(png)).json()["outputs"]
    declared = [(row["name"], row["datatype"], len(row["shape"])) for row in metadata["outputs"]]
    assert [(row["name"], row["datatype"], len(row["shape"])) for row in found] == declared


def test_the_configuration_has_limits_batching_and_classes(start: Any) -> None:
    with start(max_batch_parts=5, max_delay_ms=2.5) as server:
        config = server.client.get("/v2/models/fake/config").json()
    assert config["max_batch_size"] == 5
    assert config["dynamic_batching"] == {"max_queue_delay_microseconds": 2500}
    assert config["input"] == [{"name": "image", "data_type": "TYPE_STRING", "dims": [1]}]
    assert {"name": "boxes", "data_type": "TYPE_FP32", "dims": [-1, 4]} in config["output"]
    assert json.loads(config["parameters"]["labels"]["string_value"]) == ["text", "title", "list", "table", "figure"]


def test_statistics_count_images_batches_requests_and_failures(start: Any, png: bytes) -> None:
    with start() as server:
        server.client.post(INFER, json=inference(png, png))
        server.client.post("/detect?attention=act", content=png)
        server.client.post(INFER, json=inference(b"no image"))
        server.client.get("/v2/models/other")
        everything = server.client.get("/v2/models/stats").json()
        assert server.client.get("/v2/models/fake/versions/1/stats").json() == everything
        (stats,) = server.client.get("/v2/models/fake/stats").json()["model_stats"]
    assert (stats["name"], stats["version"]) == ("fake", "1")
    assert (stats["inference_count"], stats["execution_count"]) == (3, 3)
    times = stats["inference_stats"]
    assert {name: row["count"] for name, row in times.items()} == {
        "success": 2,
        "fail": 1,
        "queue": 3,
        "compute_input": 3,
        "compute_infer": 3,
        "compute_output": 3,
    }
    assert all(row["ns"] > 0 for row in times.values())


def test_health_follows_the_warm_up(start: Any, detector: Any, png: bytes) -> None:
    detector.warm.clear()
    with start(warm=False) as server:
        assert server.client.get("/v2/health/live").json() == {"live": True}
        for path in ("/v2/health/ready", "/v2/models/fake/ready", "/v2/models/fake/versions/1/ready"):
            error(server.client.get(path), 503, "not-ready")
        refused = server.client.post(INFER, json=inference(png))
        error(refused, 503, "not-ready")
        assert refused.headers["retry-after"] == "1"
        detector.warm.set()
        server.eventually(lambda: server.client.get("/v2/health/ready").status_code == 200)
        assert server.client.get("/v2/health/ready").json() == {"ready": True}
        assert server.client.get("/v2/models/fake/ready").json() == {"name": "fake", "ready": True}
        server.service.readiness.drain()
        error(server.client.get("/v2/models/fake/ready"), 503, "draining")
        assert server.client.get("/v2/health/live").status_code == 200


def test_health_and_server_metadata_need_no_key_but_the_model_does(start: Any, png: bytes) -> None:
    with start(api_key="secret") as server:
        for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/fake/ready"):
            assert server.client.get(path).status_code == 200
        for path in ("/v2/models/fake", "/v2/models/other/config", "/v2/models/fake/stats", "/v2/models/stats"):
            refused = server.client.get(path)
            error(refused, 401, "unauthorized")
            assert refused.headers["www-authenticate"] == "Bearer"
        error(server.client.post(INFER, content=b"nonsense"), 401, "unauthorized")
        for headers in ({"x-api-key": "secret"}, {"authorization": "Bearer secret"}):
            assert server.client.get("/v2/models/fake", headers=headers).status_code == 200
            assert server.client.post(INFER, json=inference(png), headers=headers).status_code == 200


@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats", "/versions/1", "/versions/1/ready"])
def test_another_model_is_not_here(service: Any, rest: str) -> None:
    said = "There is no model 'other' here: this service has 'fake'."
    assert error(service.client.get("/v2/models/other" + rest), 404, "not-found") == said


def test_another_version_is_not_here(service: Any, png: bytes) -> None:
    response = service.client.post("/v2/models/fake/versions/2/infer", json=inference(png))
    assert error(response, 404, "not-found") == "fake has no version '2': its only version is '1'."


@pytest.mark.parametrize("name", ["org/name", "org%2Fname"])
def test_a_model_of_a_hub_is_addressed_by_its_name(start: Any, detector: Any, png: bytes, name: str) -> None:
    detector.name = "org/name"
    with start() as server:
        assert server.client.get(f"/v2/models/{name}").json()["name"] == "org/name"
        for path in (f"/v2/models/{name}/ready", f"/v2/models/{name}/versions/1/ready", f"/v2/models/{name}/config"):
            assert server.client.get(path).status_code == 200
        answer = server.client.post(f"/v2/models/{name}/infer", json=inference(png)).json()
        assert answer["model_name"] == "org/name"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/fake/load",
        "/v2/systemsharedmemory/status",
        "/v2/cudasharedmemory/region/a/register",
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/fake/trace/setting",
        "/v2/models/fake/generate",
        "/v2/models/fake/generate_stream",
    ],
)
def test_other_extensions_are_refused_and_the_supported_ones_pointed_to(service: Any, path: str) -> None:
    for method in ("GET", "POST"):
        said = error(service.client.request(method, path), 404, "not-found")
        assert f"There is nothing at {path}: this extension" in said
    assert service.client.get("/v2").json()["extensions"] == [
        "binary_tensor_data",
        "model_configuration",
        "statistics",
    ]


def test_addresses_and_methods_that_do_not_exist_have_the_protocols_errors(service: Any) -> None:
    for path in ("/v2/nothing", "/v2/models", "/v2/models/a/b/c", "/v2/models/fake/infer/more"):
        error(service.client.get(path), 404, "not-found")
    refused = service.client.get(INFER)
    error(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "POST"
    assert service.client.get("/v2nothing").json()["type"] == "not-found"


def test_errors_have_the_protocols_form_under_a_prefix_too(start: Any) -> None:
    with start(root_path="/vision") as server:
        for path in ("/vision/v2/nothing", "/v2/nothing"):
            error(server.client.get(path), 404, "not-found")
        assert server.client.get("/vision/v2/models/fake").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"attention": "exact", "L": 16}, "`L` is only valid with attention=act; this request uses exact"),
        ({"labels": "cat"}, "labels: the model has no class 'cat'"),
        ({"size": 303}, "size: must be between 304 and 416 pixels here, not 303"),
        ({"tiles": "9x9"}, "tiles: 9x9 are 81 tiles; 32 are allowed"),
        ({"treshold": 0.5}, "parameters.treshold: There is no such parameter"),
    ],
)
def test_bad_parameters_are_named(service: Any, png: bytes, parameters: dict[str, Any], said: str) -> None:
    assert said in error(service.client.post(INFER, json=inference(png, **parameters)), 422, "bad-parameter")


def test_one_bad_image_fails_the_request_and_is_named(start: Any, png: bytes) -> None:
    with start() as server:
        said = error(server.client.post(INFER, json=inference(png, b"GIF")), 415, "unsupported-image-type")
        assert said.startswith("Image 1: This is not a supported image.")
        said = error(server.client.post(INFER, json=inference(png[:100])), 422, "undecodable-image")
        assert not said.startswith("Image")
        server.eventually(server.idle)
        assert server.metric("act_detr_rejected_total", reason="unsupported-image-type") == 1
        assert server.total("act_detr_images_total") == 0


def test_limits_are_those_of_a_batch(start: Any, png: bytes) -> None:
    with start(max_batch_parts=2, max_bytes=1000, max_batch_bytes=3000) as server:
        said = error(server.client.post(INFER, json=inference(b"a", b"b", b"c")), 422, "bad-parameter")
        assert said == "inputs.0.shape: 3 images; 2 are allowed"
        error(server.client.post(INFER, json=inference(b"x" * 1001)), 413, "too-many-bytes")
        said = error(server.client.post(INFER, json=inference(b"x" * 3000)), 413, "too-many-bytes")
        assert said == "The body may have at most 3000 bytes."


def test_compressed_bodies_are_refused_unread(service: Any) -> None:
    refused = service.client.post(INFER, content=bytes(10), headers={"content-encoding": "gzip"})
    error(refused, 415, "unsupported-encoding")
    assert refused.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("limit", [{"timeout": 80_000}, {"deadline_ms": 80}])
def test_timeout_and_deadline_count_the_queue(start: Any, detector: Any, png: bytes, limit: dict[str, int]) -> None:
    with start() as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        response = server.client.post(INFER, json=inference(png, **limit))
        detector.gate.set()
        error(response, 504, "deadline-passed")
        assert detector.entered == 1


def test_a_full_queue_is_a_429_with_retry_after(start: Any, detector: Any, png: bytes) -> None:
    with start(max_queue=1, max_batch=1) as server, ThreadPoolExecutor(2) as pool:
        detector.gate.clear()
        accepted = [pool.submit(server.client.post, INFER, json=inference(png))]
        server.eventually(lambda: detector.entered == 1)
        accepted.append(pool.submit(server.client.post, INFER, json=inference(png)))
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 1)
        refused = server.client.post(INFER, content=b"nonsense")  # refused before it is decoded
        error(refused, 429, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        detector.gate.set()
        assert [answer.result().status_code for answer in accepted] == [200, 200]
        server.eventually(server.idle)


def test_images_that_the_queue_refuses_free_those_of_their_request(start: Any, detector: Any, png: bytes) -> None:
    with start(max_queue=2, max_batch=1, streams=1) as server, ThreadPoolExecutor(1) as pool:
        detector.gate.clear()
        running = pool.submit(server.client.post, "/detect", content=png)
        server.eventually(lambda: detector.entered == 1)
        error(server.client.post(INFER, json=inference(png, png, png)), 429, "queue-full")
        server.eventually(lambda: server.metric("act_detr_queue_depth") == 0)
        detector.gate.set()
        assert running.result().status_code == 200
        server.eventually(server.idle)
        assert detector.entered == 1


def test_a_failure_of_the_model_is_a_500_without_its_reason(start: Any, detector: Any, png: bytes) -> None:
    with start() as server:
        detector.broken = ValueError("secret words")
        response = server.client.post(INFER, json=inference(png))
        error(response, 500, "internal-error")
        assert "secret" not in response.text


def test_routes_are_counted_by_their_pattern_and_logged(
    start: Any, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with start() as server, caplog.at_level(logging.INFO, "act_detr.request"):
        for path in (INFER, "/v2/models/fake/versions/1/infer"):
            assert server.client.post(path, json=inference(png, png, attention="act")).status_code == 200
        server.client.get("/v2/models/what-the-caller-sent")
        count, labels = "act_detr_request_duration_seconds_count", {"attention": "act", "status": "200"}
        assert server.metric(count, route="/v2/models/{name}/infer", **labels) == 1
        assert server.metric(count, route="/v2/models/{name}/versions/{version}/infer", **labels) == 1
        assert server.metric(count, route="/v2/models/{name}", attention="none", status="404") == 1
        exposition = server.client.get("/metrics").text
    assert "what-the-caller-sent" not in exposition
    line = next(row for row in caplog.records if row.message == "request")
    assert (line.route, line.images, line.detections) == ("/v2/models/{name}/infer", 2, 4)
    assert line.bytes > len(png)
    assert "read" in line.stages_ms


def test_head_requests_are_answered_like_get(service: Any) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/models/fake"):
        answer = service.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_openapi_documents_the_model_the_bodies_and_the_errors(service: Any, png: bytes) -> None:
    document = service.client.get("/openapi.json").json()
    operation = document["paths"][INFER.replace("fake", "{name}")]["post"]
    names = {row["name"]: row["schema"] for row in operation["parameters"]}
    assert names["name"] == {"type": "string", "enum": ["fake"]}
    assert set(operation["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    causes = {cause.type for cause in all_errors()} - {"method-not-allowed", "client-closed"}
    examples = [
        row["content"]["application/json"]["examples"]
        for status, row in operation["responses"].items()
        if status != "200"
    ]
    assert {name for row in examples for name in row} == causes
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert list(outputs(service.client.post(INFER, json=example))) == ["num_detections", "boxes", "labels"]
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    references = set(text.split('"#/components/schemas/')[1:])
    assert {row.split('"')[0] for row in references} <= set(document["components"]["schemas"])
