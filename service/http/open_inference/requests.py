"""An inference request from its body: what it asks for, and its images."""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request

from service.errors import BadParameter, MalformedRequest, invalid_parameters
from service.http.base64_text import decode_base64
from service.http.open_inference.request_schemas import InferRequest, InputTensor
from service.http.open_inference.wire_format import HEADER_LENGTH, decode_elements, split_body
from service.http.request_body import read_bytes
from service.settings import Settings

_MAX_INDENT: Final = 100
_MAX_JSON_VALUES: Final = 300
"""Limit on commas and brackets besides those of the images, checked before parsing: each may become an object many
times its size in memory."""
_VALUES_OF_AN_IMAGE: Final = 4
"""A comma between images, one in a data URL, and a list around each."""


async def read_request(request: Request, limits: Settings) -> tuple[InferRequest, list[bytes]]:
    """Return the request and its encoded images, at least one and at most `limits.max_batch_parts`.

    Raises TooManyBytes, MalformedRequest, BadParameter, UnsupportedEncoding, RequestTimeout, ClientClosed.
    """
    body = await read_bytes(request, limits.max_batch_bytes, limits.body_timeout_s)
    return await asyncio.to_thread(decode_request, body, request.headers.get(HEADER_LENGTH), limits)


def decode_request(body: bytes, header_length: str | None, limits: Settings) -> tuple[InferRequest, list[bytes]]:
    """Return the request and its encoded images; `header_length` is the value of HEADER_LENGTH.

    Raises MalformedRequest, BadParameter, and TooManyBytes for an image whose base64 is longer than
    `limits.max_bytes`.
    """
    header, binary = split_body(body, header_length)
    asked = _parse(header, limits.max_batch_parts)
    return asked, _images(asked.inputs[0], binary, limits)


def _parse(header: bytes, max_images: int) -> InferRequest:
    if not header[:_MAX_INDENT].lstrip().startswith(b"{"):
        raise MalformedRequest("The body does not begin with the JSON of an inference request.")
    values = sum(header.count(sign) for sign in (b",", b"[", b"{"))
    if values > _MAX_JSON_VALUES + _VALUES_OF_AN_IMAGE * max_images:
        raise MalformedRequest("The JSON has too many values: each image is one text, its file in base64.")
    try:
        return InferRequest.model_validate_json(header)
    except ValidationError as error:
        rows = error.errors(include_url=False, include_input=False)
    if rows[0]["type"] == "json_invalid":
        raise MalformedRequest(
            f"The body is not JSON: {rows[0]['ctx']['error']}. Binary data after it need the header {HEADER_LENGTH}."
        )
    raise invalid_parameters([{**row, "loc": ("body", *row["loc"])} for row in rows])


def _images(tensor: InputTensor, binary: memoryview, limits: Settings) -> list[bytes]:
    count, size = tensor.images, tensor.parameters.binary_data_size
    if count > limits.max_batch_parts:
        raise BadParameter(
            f"inputs.0.shape: {count} images; {limits.max_batch_parts} are allowed",
            parameter="inputs.0.shape",
            limit=limits.max_batch_parts,
        )
    if tensor.data is not None:
        if size is not None:
            raise BadParameter("inputs.0: has both data and binary_data_size", parameter="inputs.0.data")
        return _from_text(tensor.data, count, len(binary), limits)
    if size is None:
        raise BadParameter("inputs.0: has neither data nor binary_data_size", parameter="inputs.0.data")
    if size != len(binary):
        raise MalformedRequest(
            f"inputs.0 has a binary_data_size of {size}, but {len(binary)} bytes follow the JSON, which ends where "
            f"{HEADER_LENGTH} says."
        )
    return decode_elements(binary, count)


def _from_text(texts: list[str], count: int, left: int, limits: Settings) -> list[bytes]:
    if left:
        raise MalformedRequest(f"{left} bytes follow the JSON, but inputs.0 has no binary_data_size.")
    if len(texts) != count:
        raise BadParameter(
            f"inputs.0.data: has {len(texts)} element(s), but the shape announces {count}", parameter="inputs.0.data"
        )
    return [
        decode_base64(text, name=f"inputs.0.data.{index}", max_bytes=limits.max_bytes)
        for index, text in enumerate(texts)
    ]
