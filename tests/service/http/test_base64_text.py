from __future__ import annotations

import base64
import json
import random
import tracemalloc
from collections.abc import Callable

import pytest

from service.errors import MalformedRequest, TooManyBytes
from service.http.base64_text import decode_base64, longest_text

DATA = random.Random(3).randbytes(1000) + b"\xfb\xff\xbf"  # has both digits in which the alphabets differ


def decode(text: str, max_bytes: int = 10_000) -> bytes:
    return decode_base64(text, name="image", max_bytes=max_bytes)


def lines(width: int, end: str) -> Callable[[bytes], str]:
    def encode(data: bytes) -> str:
        text = base64.b64encode(data).decode()
        return "".join(text[place : place + width] + end for place in range(0, len(text), width))

    return encode


def url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


WAYS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "python": lambda data: base64.encodebytes(data).decode(),
    "mime": lines(76, "\r\n"),
    "pem": lines(64, "\n"),
    "spread": lines(1, " \t\r\n\f\v"),
    "url-safe": url_safe,
    "bare": lambda data: url_safe(data).rstrip("="),
    "browser": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "untyped": lambda data: "data:;base64," + base64.b64encode(data).decode(),
    "parameters": lambda data: "DATA:image/png;name=a.png;BASE64," + base64.encodebytes(data).decode(),
    "indented": lambda data: "\n  data:image/jpeg;base64,\n" + lines(60, "\n  ")(data),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 1000, 1003])
def test_every_variant_of_base64_is_decoded(way: str, length: int) -> None:
    data = DATA[-length:] if length else b""
    assert decode(WAYS[way](data)) == data


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("!!!!", "contains '!'"),
        ("AAAA*AAA", r"contains '\*'"),
        ("AA=A", "contains '='"),
        ("A", "truncated"),
        ("AAAAA", "truncated"),
        ("AAA===", "truncated"),
        ("====", "truncated"),
        ("AAAä", r"contains '\\xe4'"),
        ("A\x00AA", r"contains '\\x00'"),
        ("AAAA\u2028", r"contains '\\u2028'"),
        ("data:image/png,AAAA", "data URL"),
        ("data:image/svg+xml;utf8,<svg/>", "data URL"),
        ("data:image/png;base64AAAA", "is a URL"),
        ("data:" + "x" * 300 + ";base64,AAAA", "is a URL"),
        ("https://example.org/a.png", "is a URL"),
        ("blob:https://example.org/1", "is a URL"),
        ("data:image/png;base64,data:image/png;base64,AAAA", "contains ':'"),
    ],
)
def test_invalid_base64_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(MalformedRequest, match=complaint):
        decode(text)


@pytest.mark.parametrize("way", WAYS)
def test_the_limit_counts_decoded_bytes(way: str) -> None:
    assert decode(WAYS[way](DATA), max_bytes=len(DATA)) == DATA
    with pytest.raises(TooManyBytes):
        decode(WAYS[way](DATA), max_bytes=len(DATA) - 1)


@pytest.mark.parametrize("escape", [("/", "\\/"), ("+", "\\u002B"), ("\r\n", "\\r\\n")])
def test_the_longest_text_holds_what_programs_write(escape: tuple[str, str]) -> None:
    data = random.Random(4).randbytes(100_000)
    written = json.dumps(lines(64, "\r\n")(data)).replace(*escape)
    assert len(written) < longest_text(len(data))


@pytest.mark.parametrize(
    "text", [" " * 4_000_000, "A " * 2_000_000, "=" * 4_000_000, "data:" * 800_000, "\n" + "a" * 4_000_000]
)
def test_memory_stays_a_few_times_the_text(text: str) -> None:
    tracemalloc.start()
    try:
        decode(text, max_bytes=4_000_000)
    except MalformedRequest:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * len(text)
