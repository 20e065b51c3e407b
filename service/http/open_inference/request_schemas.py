"""The JSON of inference requests. They are checked strictly: text is no number, and an unknown option is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from service.detection_options import DetectQuery
from service.http.open_inference.wire_format import Datatype

INPUT: Final = "image"
OUTPUTS: Final[dict[str, tuple[Datatype, tuple[int, ...]]]] = {
    "num_detections": ("INT32", (-1, 1)),
    "boxes": ("FP32", (-1, -1, 4)),
    "scores": ("FP32", (-1, -1)),
    "class_ids": ("INT32", (-1, -1)),
    "labels": ("BYTES", (-1, -1)),
    "report": ("BYTES", (-1, 1)),
}
"""Datatype and shape of every output; -1 varies: first the images, then the detections of the image with most."""
_MAX_ID: Final = 1000


def _refuse(parameters: Any, names: Collection[str], why: str) -> Any:
    """Return the parameters of a tensor. Raises ValueError with `why` if one of the names is among them."""
    if isinstance(parameters, dict) and (given := [name for name in names if name in parameters]):
        raise ValueError(f"{given[0]}: {why}")
    return parameters


_SHARED_MEMORY: Final = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
_NO_SHARED_MEMORY: Final = "shared memory is not supported: tensors travel in the body"


class InputParameters(BaseModel):
    """Parameters of the input; others than these have no effect."""

    model_config = ConfigDict(strict=True)

    binary_data_size: int | None = Field(
        None, ge=0, description="Bytes of the tensor after the JSON; without it, `data` has the tensor."
    )

    @model_validator(mode="before")
    @classmethod
    def _no_shared_memory(cls, parameters: Any) -> Any:
        return _refuse(parameters, _SHARED_MEMORY, _NO_SHARED_MEMORY)


class InputTensor(BaseModel):
    """The images: whole files, as binary data or as base64 in JSON."""

    model_config = ConfigDict(strict=True)

    name: Literal["image"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, max_length=2, description="[n] or [n, 1] for n images."
    )
    parameters: InputParameters = InputParameters()
    data: list[str] | None = Field(
        None, description="Each image in base64, also as a `data:` URL. Absent where the tensor is binary data."
    )

    @field_validator("datatype", mode="before")
    @classmethod
    def _files_not_pixels(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "BYTES":
            raise ValueError(f"must be BYTES, not {value[:20]!r}: send image files (JPEG, PNG, …), not pixels")
        return value

    @field_validator("shape")
    @classmethod
    def _one_file_each(cls, shape: list[int]) -> list[int]:
        if shape[1:] not in ([], [1]):
            raise ValueError(f"must be [n] or [n, 1] for n images, not {shape}")
        return shape

    @field_validator("data", mode="before")
    @classmethod
    def _flat(cls, rows: Any) -> Any:
        """The protocol lets data be nested like the shape."""
        if not isinstance(rows, list):
            return rows
        return [element for row in rows for element in (row if isinstance(row, list) else [row])]

    @property
    def images(self) -> int:
        """The number of images that the shape announces."""
        return self.shape[0]


class OutputParameters(BaseModel):
    """Parameters of a requested output; others than these have no effect."""

    model_config = ConfigDict(strict=True)

    binary_data: bool | None = Field(None, description="Whether to send it as binary data after the JSON.")

    @model_validator(mode="before")
    @classmethod
    def _as_it_is(cls, parameters: Any) -> Any:
        _refuse(parameters, _SHARED_MEMORY, _NO_SHARED_MEMORY)
        return _refuse(parameters, ("classification",), "not supported: scores and labels are outputs of their own")


class RequestedOutput(BaseModel):
    """One output to send."""

    model_config = ConfigDict(strict=True)

    name: Literal["num_detections", "boxes", "scores", "class_ids", "labels", "report"]
    parameters: OutputParameters = OutputParameters()


_NO_SEQUENCES: Final = "not supported: no state is kept between requests"
_UNSUPPORTED: Final = {
    "masks": "not offered by this protocol: use /detect",
    "priority": "not supported: requests run in the order of their arrival",
    "sequence_id": _NO_SEQUENCES,
    "sequence_start": _NO_SEQUENCES,
    "sequence_end": _NO_SEQUENCES,
}


class RequestParameters(DetectQuery):
    """The options of `/detect`, and the parameters that the protocol itself and its extensions know.

    Unknown ones are refused: they are misspelt.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    labels: str | None = Field(None, description="Classes to keep, comma-separated. Default: all.")  # type: ignore[assignment]
    masks: None = Field(None, description="Not offered here: see `/detect`.")
    binary_data_output: bool = Field(
        False, description="Whether to send outputs as binary data that do not say so themselves."
    )
    timeout: int = Field(
        0,
        ge=0,
        le=3_600_000_000,
        description="`deadline_ms` in microseconds, as Triton has it; 0 is the default. Not with `deadline_ms`.",
    )
    priority: Literal[0] = Field(0, description="Only Triton's default: there are no priorities.")
    sequence_id: Literal[0, ""] = Field(0, description="Only Triton's default: there are no sequences.")
    sequence_start: Literal[False] = Field(False, description="See `sequence_id`.")
    sequence_end: Literal[False] = Field(False, description="See `sequence_id`.")

    @field_validator(*_UNSUPPORTED, mode="before")
    @classmethod
    def _say_why(cls, value: Any, field: ValidationInfo) -> Any:
        if value not in (None, False, 0, ""):
            raise ValueError(_UNSUPPORTED[str(field.field_name)])
        return value

    @model_validator(mode="after")
    def _one_deadline(self) -> RequestParameters:
        if self.timeout and self.deadline_ms is not None:
            raise ValueError("timeout and deadline_ms are the same limit: send one of them")
        return self

    @property
    def query(self) -> DetectQuery:
        """The same options as `/detect` takes them."""
        given = self.model_dump(include=set(DetectQuery.model_fields) - {"labels"}, exclude_none=True)
        if self.timeout:
            given["deadline_ms"] = self.timeout / 1e3
        return DetectQuery(**given, labels=[] if self.labels is None else [self.labels])


class InferRequest(BaseModel):
    """A request for the detections in one or several images."""

    model_config = ConfigDict(strict=True)

    id: str = Field("", max_length=_MAX_ID, description="An id of the caller's own, which the response repeats.")
    parameters: RequestParameters = RequestParameters()
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] = Field([], description="Outputs to send, in this order. None: all.")

    @field_validator("inputs", mode="before")
    @classmethod
    def _one_input(cls, inputs: Any) -> Any:
        if isinstance(inputs, list) and len(inputs) != 1:
            raise ValueError(f"must be one tensor, {INPUT}, which may hold several images; not {len(inputs)}")
        return inputs

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, outputs: list[RequestedOutput]) -> list[RequestedOutput]:
        if len({output.name for output in outputs}) < len(outputs):
            raise ValueError("an output is requested twice")
        return outputs

    @property
    def wanted(self) -> dict[str, bool]:
        """The outputs to send, and whether as binary data, in their order."""
        default = self.parameters.binary_data_output
        if not self.outputs:
            return dict.fromkeys(OUTPUTS, default)
        asked = {output.name: output.parameters.binary_data for output in self.outputs}
        return {name: default if binary is None else binary for name, binary in asked.items()}
