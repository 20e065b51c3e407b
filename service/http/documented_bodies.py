"""The bodies of requests with images, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any, Final

from service.http.request_body import FIELD
from service.images.image_formats import MEDIA_TYPES

BINARY: Final = {"schema": {"type": "string", "format": "binary"}}


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"schema": {"type": "object", "required": [FIELD], "properties": {FIELD: schema}}}


ONE_IMAGE: Final = {
    "requestBody": {
        "required": True,
        "description": "One image: the body itself, a form field, or base64 (also a `data:` URL) in JSON. "
        "Content-Encoding is not supported.",
        "content": {
            **dict.fromkeys(MEDIA_TYPES, BINARY),
            "application/octet-stream": BINARY,
            "multipart/form-data": _form({"type": "string", "format": "binary"}),
            "application/json": _form({"type": "string", "format": "byte"})
            | {"example": {FIELD: "iVBORw0KGgoAAAANSUhEUgAAAAEA…"}},
        },
    }
}
SEVERAL_IMAGES: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form(
                {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
            )
        },
    }
}
