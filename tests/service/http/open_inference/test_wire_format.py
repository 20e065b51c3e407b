from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedRequest
from service.http.open_inference.wire_format import (
    Tensor,
    decode_elements,
    encode_elements,
    join_body,
    split_body,
)

ELEMENTS = st.lists(st.binary(max_size=50), max_size=8)


@given(ELEMENTS)
def test_elements_come_back_as_they_were(elements: list[bytes]) -> None:
    assert decode_elements(memoryview(encode_elements(elements)), len(elements)) == elements


@given(st.binary(max_size=200), st.integers(0, 10))
def test_any_other_bytes_are_refused(data: bytes, count: int) -> None:
    with suppress(MalformedRequest):
        assert encode_elements(decode_elements(memoryview(data), count)) == data


@pytest.mark.parametrize(
    ("data", "count", "said"),
    [
        (b"", 1, "The binary data end before element 0 of 1."),
        (b"\x01\0\0\0a\x01\0", 2, "The binary data end before element 1 of 2."),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", 1, "Element 0 announces 3774863615 bytes, but only 6 are left."),
        (b"\x01\0\0\0ab", 1, "1 bytes are left after 1 element(s)."),
    ],
)
def test_a_refusal_says_which_element_and_what_a_length_is(data: bytes, count: int, said: str) -> None:
    with pytest.raises(MalformedRequest) as refused:
        decode_elements(memoryview(data), count)
    assert str(refused.value) == f"{said} Each element of BYTES begins with its length: 4 bytes, little-endian."


@given(st.binary(max_size=100), ELEMENTS)
def test_a_body_is_split_where_it_was_joined(header: bytes, elements: list[bytes]) -> None:
    body = join_body(header, [encode_elements(elements)])
    json, binary = split_body(body, str(len(header)))
    assert (json, decode_elements(binary, len(elements))) == (header, elements)


def test_without_a_header_length_all_is_json() -> None:
    json, binary = split_body(b"{}", None)
    assert (json, len(binary)) == (b"{}", 0)


@given(st.text(max_size=30))
def test_any_header_length_splits_the_body_or_is_refused(length: str) -> None:
    with suppress(MalformedRequest):
        json, binary = split_body(b"0123456789", length)
        assert json + bytes(binary) == b"0123456789"
        assert len(json) == int(length)


@pytest.mark.parametrize("length", ["", "-1", "1.0", "1 ", "0x1", "11", "9" * 5000, "1, 1", "\u0661"])
def test_a_header_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(MalformedRequest):
        split_body(b"0123456789", length)


def test_numbers_are_little_endian_and_row_by_row() -> None:
    tensor = Tensor("boxes", "FP32", np.array([[1, 2], [3, 4]], np.float32))
    assert tensor.data == [1.0, 2.0, 3.0, 4.0]
    assert tensor.binary == np.array([1, 2, 3, 4], "<f4").tobytes()
    assert Tensor("ids", "INT32", np.array([-1], np.int32)).binary == b"\xff\xff\xff\xff"


def test_texts_are_utf8() -> None:
    tensor = Tensor("labels", "BYTES", np.array([["é"], [""]], object))
    assert tensor.data == ["é", ""]
    assert decode_elements(memoryview(tensor.binary), 2) == ["é".encode(), b""]


def test_a_tensor_without_elements_has_no_bytes() -> None:
    assert Tensor("boxes", "FP32", np.zeros((1, 0, 4), np.float32)).binary == b""
    assert Tensor("labels", "BYTES", np.full((1, 0), "", object)).binary == b""
