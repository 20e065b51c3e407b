"""A thousand malformed inputs: each is answered with a 4xx problem, and nothing is left behind."""

from __future__ import annotations

import base64
import json
import os
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

SEED = 20_260
EACH = 125
LOOPS_OWN_THREADS = min(32, (os.cpu_count() or 1) + 4)  # as many as asyncio.to_thread starts at most
KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
ABSURD = (
    "attention=tangents",
    "attention=ACT",
    "attention=act&L=0",
    "attention=act&L=65",
    "attention=act&L=-1",
    "attention=act&L=1e9",
    "attention=act&L=16.5",
    "attention=act&r=0",
    "attention=act&r=-8",
    "attention=act&r=nan",
    "attention=act&r=inf",
    "attention=act&r=1e400",
    "attention=exact&L=16",
    "attention=auto&r=8",
    "threshold=2",
    "threshold=-1",
    "threshold=nan",
    "threshold=",
    "threshold=0.5&threshold=0.5",
    "max_detections=0",
    "max_detections=-3",
    "max_detections=1e30",
    "nms=0",
    "nms=1.5",
    "nms=nan",
    "labels=unicorn",
    "labels=",
    "labels=%00",
    "labels=%ff%fe",
    "deadline_ms=0",
    "deadline_ms=nan",
    "deadline_ms=1e300",
    "unknown=1",
    "L",
    "%zz=1",
)


@dataclass
class Case:
    """One malformed request, and what it is."""

    what: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/detect"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(200_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def truncated(dice: random.Random, images: list[bytes]) -> Case:
    image = dice.choice(images)
    return Case("truncated image", image[: int(len(image) * dice.uniform(0, 0.95))])


def wrong_type(dice: random.Random, images: list[bytes]) -> Case:
    start = dice.choice(
        [b"", b"%PDF-1.7\n", b"<html>", b"PK\x03\x04", b"\x7fELF", b"RIFF\0\0\0\0AVI ", b"BM", b"\xff\xd8"]
    )
    declared = dice.choice(["image/png", "text/plain", "video/mp4", "image/svg+xml", "", "application/pdf", ";;;"])
    return Case("wrong type", start + dice.randbytes(dice.randrange(300)), {"content-type": declared})


def bomb(dice: random.Random, images: list[bytes]) -> Case:
    side = dice.choice([8_000, 30_000, 2**20, 2**31 - 1])
    if dice.random() < 0.3:
        canvas = bytes(4) + (2**24 - 1).to_bytes(3, "little") + dice.randrange(2**24).to_bytes(3, "little")
        data = b"WEBPVP8X" + struct.pack("<I", 10) + canvas
        return Case("WebP bomb", b"RIFF" + struct.pack("<I", len(data)) + data)
    if dice.random() < 0.3:
        return Case("GIF bomb", b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + dice.randbytes(40))
    return Case("PNG bomb", png_bomb(side, dice.choice([8_000, side])))


def absurd(dice: random.Random, images: list[bytes]) -> Case:
    path = dice.choice(["/detect", "/detect/batch"])
    return Case("absurd parameter", dice.choice(images), path=f"{path}?{dice.choice(ABSURD)}")


def bad_json(dice: random.Random, images: list[bytes]) -> Case:
    encoded = base64.b64encode(dice.choice(images)).decode()
    documents = [
        json.dumps({"image": encoded})[: dice.randrange(1, 200)].encode(),
        json.dumps({"image": encoded[: dice.randrange(4, 300) // 4 * 4 + 1]}).encode(),
        json.dumps({"image": "*" + encoded}).encode(),
        json.dumps({"picture": encoded}).encode(),
        json.dumps([encoded]).encode(),
        json.dumps({"image": None}).encode(),
        b"[" * dice.randrange(1, 5000),
        dice.randbytes(50),
        b"",
    ]
    return Case("bad JSON", dice.choice(documents), {"content-type": "application/json"})


def bad_multipart(dice: random.Random, images: list[bytes]) -> Case:
    whole = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + dice.choice(images) + b"\r\n--b--\r\n"
    bodies = [
        whole[: dice.randrange(len(whole) - 8)],
        whole.replace(b'"image"', b'"file"'),
        whole.replace(b"--b", b"--c"),
        whole.replace(b"Content-Disposition", b"Content Disposition"),
        whole.replace(b"Content-Disposition", b"X" * 20_000),
        b"--b--\r\n",
        dice.randbytes(200),
    ]
    declared = dice.choice(["multipart/form-data; boundary=b"] * 4 + ["multipart/form-data"])
    path = dice.choice(["/detect", "/detect/batch"])
    return Case("bad multipart", dice.choice(bodies), {"content-type": declared}, path)


def lost(dice: random.Random, images: list[bytes]) -> Case:
    path = dice.choice(
        ["/", "/detects", "/detect/", "/static/x", "/metrics", "/livez", "/%00", "/a/../b", "/v1/detect"]
    )
    return Case("no such route", dice.choice(images), path=path)


def raw_requests(dice: random.Random, images: list[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield bytes for a socket, and whether an answer is waited for: half-sent bodies, and bad heads."""
    for _ in range(EACH // 2):
        image = dice.choice(images)
        head = f"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(image)}\r\n\r\n".encode()
        yield head + image[: dice.randrange(len(image))], False
    for _ in range(EACH - EACH // 2):
        yield (
            dice.choice(
                [
                    b"POST /detect HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
                    b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
                    b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
                    b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                    b"POST /detect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
                    b"POST /detect HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
                    dice.randbytes(60) + b"\r\n\r\n",
                ]
            ),
            True,
        )


MAKERS = (truncated, wrong_type, bomb, absurd, bad_json, bad_multipart, lost)


def test_a_thousand_malformed_inputs(start: Any, encoded: Callable[..., bytes]) -> None:
    dice = random.Random(SEED)
    images = [encoded(kind=kind, size=(120, 90), seed=seed) for seed, kind in enumerate(KINDS)]
    cases = [make(dice, images) for make in MAKERS for _ in range(EACH)]
    raws = list(raw_requests(dice, images))
    assert len(cases) + len(raws) == 1000
    with start(body_timeout_s=5) as server:
        assert server.client.get("/readyz").status_code == 200
        files = [("image", image) for image in images]
        assert server.client.post("/detect/batch", files=files).status_code == 200  # every thread runs now
        threads = threading.active_count() + LOOPS_OWN_THREADS
        with ThreadPoolExecutor(4) as pool:
            failures = [failure for failure in pool.map(lambda case: complaint(server, case), cases) if failure]
            failures += [failure for failure in pool.map(lambda raw: raw_complaint(server, *raw), raws) if failure]
        assert not failures, f"{len(failures)}: {failures[:5]}"
        server.eventually(server.idle)
        server.eventually(lambda: len(server.server.server_state.tasks) == 0)
        server.eventually(lambda: threading.active_count() <= threads)
        assert server.client.get("/readyz").status_code == 200
        assert server.client.post("/detect", content=images[0]).status_code == 200
        refusals = server.total("act_detr_rejected_total") + server.metric("act_detr_cancelled_total")
        assert refusals > 900


def complaint(server: Any, case: Case) -> str | None:
    """Send the case; return what is wrong with the answer, or None."""
    response = server.client.post(case.path, content=case.body, headers=case.headers)
    if not 400 <= response.status_code < 500:
        return f"{case.what} {case.path} {case.body[:60]!r}: {response.status_code} {response.text[:200]}"
    return wrong_problem(response.headers["content-type"], response.content, response.status_code)


def raw_complaint(server: Any, data: bytes, waits: bool) -> str | None:
    """Send the bytes; return what is wrong with the answer, or None."""
    answer = server.raw(data, finish=waits)
    if not waits:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 4"):
        return f"{data[:80]!r}: {head[:80]!r}"
    media_type = "application/problem+json" if b"application/problem+json" in head else "other"
    return wrong_problem(media_type, body, int(head[9:12]))


def wrong_problem(media_type: str, body: bytes, status: int) -> str | None:
    if media_type != "application/problem+json":
        return f"{media_type}: {body[:100]!r}"
    problem = json.loads(body)
    right = problem["status"] == status and problem["type"] and problem["title"] and problem["request_id"]
    return None if right and "Traceback" not in body.decode() else f"{problem}"
