"""What the protocol says about the model: its tensors, and what of Triton's model configuration applies to it."""

from __future__ import annotations

import json
from typing import Final, Self

from pydantic import BaseModel

from models.detector import Detector
from service.http.open_inference.request_schemas import INPUT, OUTPUTS
from service.http.open_inference.response_schemas import ModelMetadata, TensorMetadata
from service.http.open_inference.wire_format import Datatype
from service.settings import Settings

VERSION: Final = "1"
"""The only version of a model: another model is another process."""
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "statistics")
_CONFIGURED: Final[dict[Datatype, str]] = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32"}


def model_metadata(detector: Detector) -> ModelMetadata:
    """Return the model's inputs and outputs; the first dimension of each is the images."""
    return ModelMetadata(
        name=detector.name,
        versions=[VERSION],
        platform=detector.family.engine,
        inputs=[TensorMetadata(name=INPUT, datatype="BYTES", shape=[-1, 1])],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=list(shape))
            for name, (datatype, shape) in OUTPUTS.items()
        ],
    )


class ConfiguredTensor(BaseModel):
    """A tensor, without the dimension of the images."""

    name: str
    data_type: str
    dims: list[int]


class DynamicBatching(BaseModel):
    """How long an image may wait for others to run with."""

    max_queue_delay_microseconds: int


class TransactionPolicy(BaseModel):
    """A request has one response."""

    decoupled: bool = False


class Text(BaseModel):
    """The value of a parameter."""

    string_value: str


class ModelConfiguration(BaseModel):
    """The model's limits and batching in the words of Triton. `max_batch_size` is the images that a request may have.

    `parameters.labels` is a JSON array of the classes, which `class_ids` count.
    """

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfiguredTensor]
    output: list[ConfiguredTensor]
    dynamic_batching: DynamicBatching
    model_transaction_policy: TransactionPolicy = TransactionPolicy()
    parameters: dict[str, Text]

    @classmethod
    def of(cls, detector: Detector, settings: Settings) -> Self:
        """Take what the detector and the settings say."""
        metadata = model_metadata(detector)
        return cls(
            name=metadata.name,
            platform=metadata.platform,
            backend="act-detr",
            max_batch_size=settings.max_batch_parts,
            input=[_configured(tensor) for tensor in metadata.inputs],
            output=[_configured(tensor) for tensor in metadata.outputs],
            dynamic_batching=DynamicBatching(
                max_queue_delay_microseconds=round(settings.delay_seconds(detector.device) * 1e6)
            ),
            parameters={"labels": Text(string_value=json.dumps(list(detector.labels), ensure_ascii=False))},
        )


def _configured(tensor: TensorMetadata) -> ConfiguredTensor:
    return ConfiguredTensor(name=tensor.name, data_type=_CONFIGURED[tensor.datatype], dims=tensor.shape[1:])
