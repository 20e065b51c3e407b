from __future__ import annotations

import json

import numpy as np
import pytest

from models.detections import Detections
from service.http.open_inference.request_schemas import OUTPUTS, InferRequest
from service.http.open_inference.responses import encode_response, output_tensors
from service.http.open_inference.wire_format import Tensor

CLASSES = ("text", "title", "text")


def detections(*labels: str) -> Detections:
    n = len(labels)
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return Detections(boxes, np.linspace(0.9, 0.5, n, dtype=np.float32), labels)


def tensors(*images: Detections) -> dict[str, Tensor]:
    every = output_tensors(images, CLASSES, [f"report {index}" for index, _ in enumerate(images)])
    return {tensor.name: tensor for tensor in every}


def asked(**members: object) -> InferRequest:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [""]}
    return InferRequest.model_validate({"inputs": [tensor]} | members)


def test_images_are_padded_to_the_one_that_has_most() -> None:
    outputs = tensors(detections("title"), detections(), detections("text", "title"))
    assert outputs["num_detections"].values.tolist() == [[1], [0], [2]]
    assert outputs["boxes"].values.tolist() == [
        [[0, 1, 2, 3], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 1, 2, 3], [4, 5, 6, 7]],
    ]
    assert outputs["scores"].values[:, 1].tolist() == [0, 0, 0.5]
    assert outputs["labels"].values.tolist() == [["title", ""], ["", ""], ["text", "title"]]
    assert outputs["class_ids"].values.tolist() == [[1, -1], [-1, -1], [0, 1]]
    assert outputs["report"].values.tolist() == [["report 0"], ["report 1"], ["report 2"]]


@pytest.mark.parametrize("images", [[detections()], [detections("text"), detections("title", "text")]])
def test_datatypes_and_shapes_are_as_declared(images: list[Detections]) -> None:
    outputs = tensors(*images)
    assert list(outputs) == list(OUTPUTS)
    for name, (datatype, shape) in OUTPUTS.items():
        values = outputs[name].values
        assert outputs[name].datatype == datatype
        assert values.dtype == {"FP32": np.float32, "INT32": np.int32, "BYTES": object}[datatype]
        assert len(values.shape) == len(shape)
        assert all(declared in (-1, actual) for declared, actual in zip(shape, values.shape, strict=True))


def test_json_has_the_outputs_that_were_asked_for_in_their_order() -> None:
    request = asked(id="é", outputs=[{"name": "labels"}, {"name": "num_detections"}])
    body, length = encode_response(request, list(tensors(detections("text")).values()), ("m", "1"), {"total_ms": 1.5})
    assert length is None
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "id": "é",
        "parameters": {"total_ms": 1.5},
        "outputs": [
            {"name": "labels", "datatype": "BYTES", "shape": [1, 1], "data": ["text"]},
            {"name": "num_detections", "datatype": "INT32", "shape": [1, 1], "data": [1]},
        ],
    }


def test_binary_outputs_follow_the_json_in_their_order() -> None:
    request = asked(
        outputs=[{"name": "scores"}, {"name": "labels", "parameters": {"binary_data": False}}, {"name": "class_ids"}],
        parameters={"binary_data_output": True},
    )
    body, length = encode_response(request, list(tensors(detections("title")).values()), ("m", "1"), {})
    assert length is not None
    document = json.loads(body[:length])
    assert "id" not in document
    assert document["outputs"] == [
        {"name": "scores", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}},
        {"name": "labels", "datatype": "BYTES", "shape": [1, 1], "data": ["title"]},
        {"name": "class_ids", "datatype": "INT32", "shape": [1, 1], "parameters": {"binary_data_size": 4}},
    ]
    assert body[length:] == np.float32(0.9).tobytes() + np.int32(1).tobytes()
