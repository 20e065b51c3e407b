from __future__ import annotations

import base64
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.detection_options import DetectQuery
from service.errors import BadParameter, MalformedRequest, TooManyBytes
from service.http.open_inference.request_schemas import OUTPUTS, InferRequest
from service.http.open_inference.requests import decode_request
from service.http.open_inference.wire_format import encode_elements
from service.settings import Settings

LIMITS = Settings(max_batch_parts=4, max_bytes=1000, max_batch_bytes=4000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def tensor(**members: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text(b"file")]} | members


def text(file: bytes) -> str:
    return base64.b64encode(file).decode()


def decode(request: Any) -> tuple[InferRequest, list[bytes]]:
    return decode_request(json.dumps(request).encode(), None, LIMITS)


def decode_binary(header: Any, binary: bytes) -> tuple[InferRequest, list[bytes]]:
    encoded = json.dumps(header).encode()
    return decode_request(encoded + binary, str(len(encoded)), LIMITS)


def binary_tensor(binary: bytes, **members: Any) -> dict[str, Any]:
    announced = tensor(parameters={"binary_data_size": len(binary)}) | members
    del announced["data"]
    return announced


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_images_are_base64_in_json_or_binary_data(shape: list[int]) -> None:
    files = [b"\xff\xd8one", b"two"]
    flat, nested = [text(file) for file in files], [[text(file)] for file in files]
    binary = encode_elements(files)
    for data in (flat, nested, [f"data:image/png;base64,{one}" for one in flat]):
        assert decode({"inputs": [tensor(shape=shape, data=data)]})[1] == files
    assert decode_binary({"inputs": [binary_tensor(binary, shape=shape)]}, binary)[1] == files


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_binary_images_come_back_as_they_were(files: list[bytes]) -> None:
    binary = encode_elements(files)
    assert decode_binary({"inputs": [binary_tensor(binary, shape=[len(files)])]}, binary)[1] == files


@given(JSON, JSON, JSON, JSON, st.binary(max_size=20))
def test_any_json_is_decoded_or_refused(shape: Any, data: Any, parameters: Any, outputs: Any, binary: bytes) -> None:
    request = {
        "inputs": [tensor(shape=shape, data=data, parameters=parameters)],
        "outputs": outputs,
        "parameters": parameters,
    }
    for one in (request, shape, {"inputs": data}):
        with suppress(MalformedRequest, BadParameter, TooManyBytes):
            asked, files = decode_binary(one, binary)
            assert len(files) == asked.inputs[0].images


@given(st.binary(max_size=100), st.none() | st.integers(0, 200).map(str))
def test_any_bytes_are_refused(body: bytes, header_length: str | None) -> None:
    with pytest.raises((MalformedRequest, BadParameter)):
        decode_request(body, header_length, LIMITS)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"name": "input"}, "inputs.0.name: Input should be 'image'"),
        (
            {"datatype": "UINT8"},
            "inputs.0.datatype: must be BYTES, not 'UINT8': send image files (JPEG, PNG, …), not pixels",
        ),
        ({"shape": [1, 2]}, "inputs.0.shape: must be [n] or [n, 1] for n images, not [1, 2]"),
        ({"shape": [5]}, "inputs.0.shape: 5 images; 4 are allowed"),
        ({"shape": [2]}, "inputs.0.data: has 1 element(s), but the shape announces 2"),
        ({"shape": ["1"]}, "inputs.0.shape.0: Input should be a valid integer"),
        ({"data": None}, "inputs.0: has neither data nor binary_data_size"),
        ({"parameters": {"binary_data_size": 8}}, "inputs.0: has both data and binary_data_size"),
        (
            {"parameters": {"shared_memory_region": "x"}},
            "inputs.0.parameters: shared_memory_region: shared memory is not supported: tensors travel in the body",
        ),
    ],
)
def test_a_bad_input_is_explained(members: dict[str, Any], said: str) -> None:
    with pytest.raises(BadParameter) as refused:
        decode({"inputs": [tensor(**members)]})
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"inputs": []}, "inputs: must be one tensor, image, which may hold several images; not 0"),
        ({"outputs": [{"name": "boxes"}] * 2}, "outputs: an output is requested twice"),
        (
            {"outputs": [{"name": "boxes", "parameters": {"classification": 3}}]},
            "outputs.0.parameters: classification: not supported: scores and labels are outputs of their own",
        ),
        ({"id": "x" * 1001}, "id: String should have at most 1000 characters"),
        ({"parameters": {"treshold": 0.3}}, "parameters.treshold: There is no such parameter"),
        ({"parameters": {"threshold": "0.3"}}, "parameters.threshold: Input should be a valid number"),
        ({"parameters": {"L": True}}, "parameters.L: Input should be a valid integer"),
        ({"parameters": {"priority": 1}}, "parameters.priority: not supported: requests run in the order of their"),
        ({"parameters": {"sequence_id": 7}}, "parameters.sequence_id: not supported: no state is kept between"),
        ({"parameters": {"masks": "rle"}}, "parameters.masks: not offered by this protocol: use /detect"),
        (
            {"parameters": {"timeout": 5, "deadline_ms": 5}},
            "parameters: timeout and deadline_ms are the same limit: send one of them",
        ),
    ],
)
def test_a_bad_request_is_explained(members: dict[str, Any], said: str) -> None:
    with pytest.raises(BadParameter) as refused:
        decode({"inputs": [tensor()]} | members)
    assert str(refused.value).startswith(said)


def test_binary_data_and_their_announced_size_must_agree() -> None:
    binary = encode_elements([b"file"])
    with pytest.raises(MalformedRequest, match="binary_data_size of 8, but 9 bytes follow the JSON"):
        decode_binary({"inputs": [binary_tensor(binary)]}, binary + b"x")
    with pytest.raises(MalformedRequest, match="8 bytes follow the JSON"):
        decode_binary({"inputs": [tensor()]}, binary)
    with pytest.raises(MalformedRequest, match="Binary data after it need the header Inference-Header-Content-Length"):
        decode_request(json.dumps({"inputs": [binary_tensor(binary)]}).encode() + binary, None, LIMITS)


def test_a_body_that_is_an_image_is_called_no_json() -> None:
    with pytest.raises(MalformedRequest, match="does not begin with the JSON of an inference request"):
        decode_request(b"\xff\xd8\xff\xe0" * 500, None, LIMITS)


def test_base64_above_the_limit_of_an_image_is_refused() -> None:
    with pytest.raises(TooManyBytes):
        decode({"inputs": [tensor(data=[text(bytes(1001))])]})


def test_json_of_a_million_small_values_is_refused_before_it_is_parsed() -> None:
    body = json.dumps({"inputs": [tensor(data=[1] * 1_000_000)]}).encode()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedRequest, match="too many values"):
            decode_request(body, None, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < len(body)
    finally:
        tracemalloc.stop()


def test_as_many_images_as_are_allowed_have_not_too_many_values() -> None:
    limits = Settings(max_batch_parts=1024)
    data = [[f"data:image/png;base64,{text(b'x')}"]] * 1024
    outputs = [{"name": name, "parameters": {"binary_data": False}} for name in OUTPUTS]
    request = {"inputs": [tensor(shape=[1024, 1], data=data)], "outputs": outputs}
    assert len(decode_request(json.dumps(request).encode(), None, limits)[1]) == 1024


def test_parameters_are_the_options_of_detect() -> None:
    options = {"attention": "act", "L": 8, "r": 2, "metric": "key", "size": 320, "tiles": "1x2", "threshold": 0.2}
    options |= {"max_detections": 3, "nms": 0.5, "deadline_ms": 10.5}
    asked, _ = decode({"inputs": [tensor()], "parameters": options | {"labels": "text,title"}})
    assert asked.parameters.query == DetectQuery(**options, labels=["text,title"])
    assert decode({"inputs": [tensor()]})[0].parameters.query == DetectQuery()


def test_every_option_of_detect_is_a_parameter() -> None:
    """A new one must be offered, or refused with a reason."""
    assert set(DetectQuery.model_fields) <= set(type(decode({"inputs": [tensor()]})[0].parameters).model_fields)


def test_timeout_is_the_deadline_in_microseconds() -> None:
    asked, _ = decode({"inputs": [tensor()], "parameters": {"timeout": 2500}})
    assert asked.parameters.query.deadline_ms == 2.5
    asked, _ = decode({"inputs": [tensor()], "parameters": {"timeout": 0}})
    assert asked.parameters.query.deadline_ms is None


def test_wanted_outputs_say_whether_they_are_binary() -> None:
    def wanted(**members: Any) -> dict[str, bool]:
        return decode({"inputs": [tensor()]} | members)[0].wanted

    binary = {"binary_data_output": True}
    assert wanted() == dict.fromkeys(OUTPUTS, False)
    assert wanted(parameters=binary) == dict.fromkeys(OUTPUTS, True)
    outputs = [{"name": "scores"}, {"name": "boxes", "parameters": {"binary_data": False}}]
    assert wanted(outputs=outputs) == {"scores": False, "boxes": False}
    assert wanted(outputs=outputs, parameters=binary) == {"scores": True, "boxes": False}
