"""Base64 decoding: plain, in lines, URL-safe, without padding, or in a `data:` URL."""

from __future__ import annotations

import binascii
import re
from typing import Final

from service.errors import MalformedRequest, TooManyBytes

_WHITESPACE: Final = b" \t\r\n\f\v"
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_ADDRESS: Final = re.compile(r"\s*[a-zA-Z][a-zA-Z0-9+.\-]{1,20}:")
_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)
_OTHER: Final = re.compile(rb"[^A-Za-z0-9+/]")
_MAX_PADDING: Final = 2


def longest_text(max_bytes: int) -> int:
    """Return how many characters base64 of `max_bytes` bytes may take in JSON: a quarter more than it needs.

    Lines of 64 characters that end with an escaped CR LF take 6 % more, an escaped `/` 2 %, an escaped `+` 8 %.
    """
    return 5 * (max_bytes + 2) // 3


def decode_base64(text: str, *, name: str, max_bytes: int) -> bytes:
    """Return the decoded bytes; errors call the text `name`. Takes time and memory linear in its length.

    Raises MalformedRequest for text that is not base64, TooManyBytes for more than `max_bytes` bytes.
    """
    bare = _significant(text, name)
    padding = len(bare) - len(bare := bare.rstrip(b"="))
    if 3 * len(bare) // 4 > max_bytes:
        raise TooManyBytes(f"An image may have at most {max_bytes} bytes.", limit=max_bytes)
    if other := _OTHER.search(bare):
        raise MalformedRequest(f"`{name}` is not base64: it contains {chr(other[0][0])!r}.")
    if padding > _MAX_PADDING or len(bare) % 4 == 1:
        raise MalformedRequest(f"`{name}` is not base64: it has an impossible length, or is truncated.")
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))


def _significant(text: str, name: str) -> bytes:
    """Return only the digits and padding, in the standard alphabet."""
    start = 0
    if head := _DATA_URL.match(text):
        if not head[0][:-1].rstrip().lower().endswith(";base64"):
            raise MalformedRequest(f"`{name}` is a data URL without base64: it must begin with `data:image/…;base64,`.")
        start = head.end()
    elif _ADDRESS.match(text):
        raise MalformedRequest(f"`{name}` is a URL, and none is fetched: send the image's bytes in base64.")
    try:
        encoded = text.encode("ascii")
    except UnicodeEncodeError as error:
        raise MalformedRequest(f"`{name}` is not base64: it contains {text[error.start]!a}.") from None
    return encoded[start:].translate(_URL_SAFE, _WHITESPACE)
