"""The JSON of the protocol's responses."""

from __future__ import annotations

from pydantic import BaseModel

from service.http.open_inference.wire_format import Datatype


class BinaryDataSize(BaseModel):
    """Bytes of an output after the JSON."""

    binary_data_size: int


class ResponseOutput(BaseModel):
    """An output: its elements row by row, or as binary data after the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: BinaryDataSize | None = None
    data: list[str | float] | None = None


class InferResponse(BaseModel):
    """The outputs for the images of a request. `parameters` are about the request as a whole."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str | float]
    outputs: list[ResponseOutput]


class TensorMetadata(BaseModel):
    """A tensor; -1 in its shape varies."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(BaseModel):
    """The model's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """The server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """The process is worth keeping."""

    live: bool


class Ready(BaseModel):
    """Requests are accepted."""

    ready: bool


class ModelReady(BaseModel):
    """Requests to the model are accepted."""

    name: str
    ready: bool


class ErrorResponse(BaseModel):
    """An error: its type as in every other answer of the service, a colon, and what is wrong."""

    error: str
