"""The bytes of the protocol: a JSON header, and tensors inside it or, as binary data, after it.

Binary data are little-endian and row by row. An element of BYTES begins with its length, an unsigned 32-bit integer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from numpy.typing import NDArray

from service.errors import MalformedRequest

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""The HTTP header that gives the bytes of JSON where binary data follow."""
Datatype = Literal["BYTES", "FP32", "INT32"]
_NUMBERS: Final[dict[Datatype, str]] = {"FP32": "<f4", "INT32": "<i4"}
_LENGTH: Final = struct.Struct("<I")
_EXPLAINED: Final = "Each element of BYTES begins with its length: 4 bytes, little-endian."


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor of numbers, or of texts (an array of objects) where its datatype is BYTES."""

    name: str
    datatype: Datatype
    values: NDArray[Any]

    @property
    def data(self) -> list[Any]:
        """The elements row by row, for JSON."""
        elements: list[Any] = self.values.ravel().tolist()
        return elements

    @property
    def binary(self) -> bytes:
        """The elements row by row, as binary data; texts are UTF-8."""
        if self.datatype == "BYTES":
            return encode_elements(text.encode() for text in self.data)
        return self.values.astype(_NUMBERS[self.datatype]).tobytes()


def split_body(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    """Return the JSON and the binary data after it; without a value of HEADER_LENGTH, all is JSON.

    Raises MalformedRequest for a length that is not a number, or is larger than the body.
    """
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 20):
        raise MalformedRequest(f"{HEADER_LENGTH} is not a number of bytes: {header_length[:100]!r}.")
    length = int(header_length)
    if length > len(body):
        raise MalformedRequest(f"{HEADER_LENGTH} is {length}, but the body has only {len(body)} bytes.")
    return body[:length], memoryview(body)[length:]


def join_body(header: bytes, tensors: Iterable[bytes]) -> bytes:
    """Return the body: the JSON, and the binary data of its tensors in their order."""
    return b"".join([header, *tensors])


def encode_elements(elements: Iterable[bytes]) -> bytes:
    """Return the binary data of a tensor of BYTES. Raises struct.error for an element of 4 GiB or more."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def decode_elements(data: memoryview, count: int) -> list[bytes]:
    """Return the `count` elements of a tensor of BYTES. Takes time and memory linear in the data's length.

    Raises MalformedRequest where the lengths do not add up to the data.
    """
    elements: list[bytes] = []
    start = 0
    for index in range(count):
        if len(data) - start < _LENGTH.size:
            raise MalformedRequest(f"The binary data end before element {index} of {count}. {_EXPLAINED}")
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if length > len(data) - start:
            raise MalformedRequest(
                f"Element {index} announces {length} bytes, but only {len(data) - start} are left. {_EXPLAINED}"
            )
        elements.append(bytes(data[start : start + length]))
        start += length
    if start < len(data):
        raise MalformedRequest(f"{len(data) - start} bytes are left after {count} element(s). {_EXPLAINED}")
    return elements
