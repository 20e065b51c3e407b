"""A client of the service, sync and async, with typed answers; it loads neither torch nor a web framework.

from service.client import Client
with Client("http://127.0.0.1:8000") as client:
    result = client.detect("page.jpg", threshold=0.5)

Answers are the models of `service.http.schemas`, and refusals the errors of `service.errors`: one class per cause.
"""

from service.client.async_client import AsyncClient
from service.client.client import Client
from service.client.file_outcome import FileOutcome
from service.client.folders import image_files
from service.client.image_bytes import AnyImage
from service.client.no_answer import NoAnswer
from service.client.options import CompareOptions, DetectOptions
from service.client.retrying import RetryPolicy
from service.errors import ServiceError
from service.http.model_schemas import ModelCard
from service.http.schemas import ComparisonResult, DetectionResult

__all__ = [
    "AnyImage",
    "AsyncClient",
    "Client",
    "CompareOptions",
    "ComparisonResult",
    "DetectOptions",
    "DetectionResult",
    "FileOutcome",
    "ModelCard",
    "NoAnswer",
    "RetryPolicy",
    "ServiceError",
    "image_files",
]
