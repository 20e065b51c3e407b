"""The outputs of an inference: detections as tensors, padded to the image that has most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detections import Detections
from service.http.open_inference.request_schemas import OUTPUTS, InferRequest
from service.http.open_inference.wire_format import Tensor, join_body


def output_tensors(detections: Sequence[Detections], classes: Sequence[str], reports: Sequence[str]) -> list[Tensor]:
    """Return every output for n images, in the order of OUTPUTS; d is the number of detections of the image with most.

    `num_detections` int32 [n, 1]; `boxes` float32 [n, d, 4]: xmin, ymin, xmax, ymax in pixels of the upright original
    image; `scores` float32 [n, d]; `class_ids` int32 [n, d]: indices into `classes`; `labels` [n, d] names of classes;
    `report` [n, 1] texts. Rows beyond an image's own are padding: 0, class -1 and an empty label.
    """
    n, d = len(detections), max(map(len, detections))
    ids = {name: index for index, name in reversed(list(enumerate(classes)))}  # of equal names, the first counts
    boxes, scores = np.zeros((n, d, 4), np.float32), np.zeros((n, d), np.float32)
    class_ids, labels = np.full((n, d), -1, np.int32), np.full((n, d), "", object)
    for image, one in enumerate(detections):
        boxes[image, : len(one)], scores[image, : len(one)] = one.boxes_xyxy, one.scores
        class_ids[image, : len(one)] = [ids[label] for label in one.labels]
        labels[image, : len(one)] = one.labels
    values: dict[str, NDArray[Any]] = {
        "num_detections": np.array([[len(one)] for one in detections], np.int32),
        "boxes": boxes,
        "scores": scores,
        "class_ids": class_ids,
        "labels": labels,
        "report": np.array([[report] for report in reports], object),
    }
    return [Tensor(name, datatype, values[name]) for name, (datatype, _) in OUTPUTS.items()]


def encode_response(
    asked: InferRequest, tensors: Sequence[Tensor], model: tuple[str, str], parameters: dict[str, Any]
) -> tuple[bytes, int | None]:
    """Return the body with the outputs that were asked for, and the bytes of its JSON if binary data follow it.

    `model` is name and version, `parameters` those of the response.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    outputs, binaries = [], []
    for name, binary in asked.wanted.items():
        tensor = by_name[name]
        output: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.values.shape)}
        if binary:
            binaries.append(tensor.binary)
            output["parameters"] = {"binary_data_size": len(binaries[-1])}
        else:
            output["data"] = tensor.data
        outputs.append(output)
    members: dict[str, Any] = {"model_name": model[0], "model_version": model[1]}
    if asked.id:
        members["id"] = asked.id
    header = json.dumps(members | {"parameters": parameters, "outputs": outputs}, ensure_ascii=False).encode()
    return join_body(header, binaries), len(header) if binaries else None
