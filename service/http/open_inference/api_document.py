"""What FastAPI cannot tell OpenAPI about the protocol: the model's name, and the body that a route reads itself."""

from __future__ import annotations

from typing import Any, Final

from service.http.open_inference.errors import PREFIX
from service.http.open_inference.model_configuration import VERSION
from service.http.open_inference.request_schemas import INPUT, InferRequest
from service.http.open_inference.response_schemas import ErrorResponse
from service.http.open_inference.wire_format import HEADER_LENGTH

_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
_EXAMPLE: Final = {
    "id": "42",
    "parameters": {"threshold": 0.3},
    "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [_PIXEL]}],
    "outputs": [{"name": "num_detections"}, {"name": "boxes"}, {"name": "labels"}],
}
_BODY: Final = {
    "required": True,
    "description": f"The request as JSON; images that are binary data follow it, and {HEADER_LENGTH} says where.",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}, "example": _EXAMPLE},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    },
}
_HEADER: Final = {
    "name": HEADER_LENGTH,
    "in": "header",
    "required": False,
    "description": "Bytes of the JSON, where binary data follow it.",
    "schema": {"type": "integer", "minimum": 0},
}


def complete(document: dict[str, Any], model: str) -> None:
    """Add the schemas that the routes refer to, their path parameters, and the body of inference, for this model."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for body in (InferRequest, ErrorResponse):
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
    for path, operations in document["paths"].items():
        if not path.startswith(f"{PREFIX}/models/{{name}}"):
            continue
        parameters = [_path_parameter("name", model)]
        if "{version}" in path:
            parameters.append(_path_parameter("version", VERSION))
        for operation in operations.values():
            operation["parameters"] = parameters + operation.get("parameters", [])
        if path.endswith("/infer"):
            operations["post"]["parameters"].append(_HEADER)
            operations["post"]["requestBody"] = _BODY


def _path_parameter(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": [value]}}
