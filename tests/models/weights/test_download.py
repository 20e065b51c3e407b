"""Downloads from a real local server that misbehaves on request."""

import hashlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.weights.cache import cached_path
from models.weights.download import download
from models.weights.errors import (
    DownloadFailed,
    NoDiskSpace,
    Offline,
    TamperedDownload,
    TruncatedDownload,
    UnknownModel,
)
from models.weights.published import PublishedCheckpoint

CONTENT = random.Random(0).randbytes(1_000_000)
OTHER = bytes(len(CONTENT))
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = f"tiny-{DIGEST[:8]}.pth"
TABLE = {"tiny": PublishedCheckpoint("tiny", FILE, 1)}


@dataclass
class Behaviour:
    """What the server does.

    `cuts[i]` ends the i-th answer after so many bytes; `stalls[i]` keeps half of it back for so many seconds, or until
    `released`.
    """

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    last_modified: str | None = None
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    claimed_length: int | None = None
    wrong_start: bool = False
    address: str = ""
    requests: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def ranges_asked(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def do_GET(self) -> None:
        b = self.behaviour
        b.requests.append(dict(self.headers))
        if b.statuses and (status := b.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, b.etag, b.last_modified)
        first = int(asked[1]) if asked and b.ranges and same else 0
        if first and first >= len(b.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(b.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if first else 200)
        if first:
            start = first - 1 if b.wrong_start else first
            self.send_header("Content-Range", f"bytes {start}-{len(b.content) - 1}/{len(b.content)}")
        self.send_header("Content-Length", str(b.claimed_length or len(b.content) - first))
        for name, value in (("ETag", b.etag), ("Last-Modified", b.last_modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        body = b.content[first:]
        if b.stalls:
            half = len(body) // 2
            self.wfile.write(body[:half])
            b.released.wait(b.stalls.pop(0))
            body = body[half:]
        with suppress(ConnectionError):  # a client that waited too long has left
            self.wfile.write(body[: b.cuts.pop(0)] if b.cuts else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    behaviour = Behaviour()
    handler = type("BoundHandler", (Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        behaviour.address = f"http://127.0.0.1:{http.server_port}/detr"
        yield behaviour
        behaviour.released.set()
        http.shutdown()
        thread.join()


def fetch(server: Behaviour, cache: Path, tries: int = 1, **options: object) -> Path:
    return download(
        "tiny", cache, base_url=server.address, published=TABLE, retry_delays=(0.0,) * (tries - 1), **options
    )


def left_behind(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {f"{FILE}.lock"}


def test_downloads_once_and_reports_progress(server: Behaviour, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    path = fetch(server, tmp_path / "new" / "cache", progress=lambda *call: calls.append(call))
    assert path == tmp_path / "new" / "cache" / FILE
    assert path.read_bytes() == CONTENT
    assert left_behind(path.parent) == {FILE}
    assert calls[0] == (0, len(CONTENT))
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert calls == sorted(calls)
    assert fetch(server, path.parent) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("changes", "ranges"),
    [
        ({}, [None, "bytes=300000-"]),
        ({"cuts": [300_000, 200_000]}, [None, "bytes=300000-", "bytes=500000-"]),
        ({"etag": 'W/"weak"', "last_modified": "Thu, 28 May 2020 12:00:00 GMT"}, [None, "bytes=300000-"]),
        ({"etag": None}, [None, None]),
        ({"ranges": False}, [None, "bytes=300000-"]),
        ({"wrong_start": True}, [None, "bytes=300000-", None]),
    ],
    ids=["resumed", "resumed twice", "resumed by date", "no validator", "ranges ignored", "another part sent"],
)
def test_a_cut_download_resumes_or_starts_again(
    server: Behaviour, tmp_path: Path, changes: dict[str, Any], ranges: list[str | None]
) -> None:
    for name, value in ({"cuts": [300_000]} | changes).items():
        setattr(server, name, value)
    assert fetch(server, tmp_path, tries=3).read_bytes() == CONTENT
    assert server.ranges_asked == ranges
    assert server.requests[1].get("If-Range") == (ranges[1] and (server.last_modified or server.etag))


@pytest.mark.parametrize(
    ("first", "etag", "mirror", "ranges"),
    [
        (CONTENT, '"v1"', "", [None, "bytes=300000-"]),
        (OTHER, '"v2"', "", [None, "bytes=300000-"]),
        (OTHER, '"v1"', "/mirror", [None, None]),
    ],
    ids=["same file", "changed file", "another mirror"],
)
def test_a_later_call_resumes_the_same_file_only(
    server: Behaviour, tmp_path: Path, first: bytes, etag: str, mirror: str, ranges: list[str | None]
) -> None:
    server.content, server.cuts = first, [300_000]
    with pytest.raises(TruncatedDownload, match=r"300000 bytes are kept in .*\.part"):
        fetch(server, tmp_path)
    server.content, server.etag = CONTENT, etag
    server.address += mirror
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == ranges
    assert left_behind(tmp_path) == {FILE}


def test_a_part_that_is_already_whole_is_checked_and_kept(server: Behaviour, tmp_path: Path) -> None:
    leave_part(server, tmp_path, CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_too_long_is_dropped(server: Behaviour, tmp_path: Path) -> None:
    leave_part(server, tmp_path, CONTENT + b"more")
    assert fetch(server, tmp_path, tries=2).read_bytes() == CONTENT


def test_a_resumed_file_is_hashed_as_a_whole(server: Behaviour, tmp_path: Path) -> None:
    leave_part(server, tmp_path, bytes(300_000))
    with pytest.raises(TamperedDownload):
        fetch(server, tmp_path)
    assert left_behind(tmp_path) == set()
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def leave_part(server: Behaviour, cache: Path, content: bytes) -> None:
    (cache / f"{FILE}.part").write_bytes(content)
    origin = {"url": f"{server.address}/{FILE}", "validator": server.etag}
    (cache / f"{FILE}.part.json").write_text(json.dumps(origin))


def test_a_part_without_its_origin_is_not_trusted(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / f"{FILE}.part").write_bytes(CONTENT[:1000])
    (tmp_path / f"{FILE}.part.json").write_text("{damaged")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [None]


def test_a_tampered_file_is_deleted_and_both_digests_are_named(server: Behaviour, tmp_path: Path) -> None:
    server.content = b"x" + CONTENT[1:]
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(TamperedDownload, match=f"begin with {DIGEST[:8]} but is {found}"):
        fetch(server, tmp_path)
    assert left_behind(tmp_path) == set()


def test_a_file_that_always_ends_early_is_kept_for_later(server: Behaviour, tmp_path: Path) -> None:
    server.content, server.claimed_length, server.ranges = CONTENT[:400_000], len(CONTENT), False
    with pytest.raises(TruncatedDownload, match="400000 bytes are kept"):
        fetch(server, tmp_path, tries=3)
    assert len(server.requests) == 3
    assert (tmp_path / f"{FILE}.part").read_bytes() == CONTENT[:400_000]
    assert not (tmp_path / FILE).exists()


def test_a_stalled_download_times_out_and_resumes(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["models.weights.download"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "TIMEOUT", httpx.Timeout(0.3, connect=10.0))
    server.stalls = [60.0]
    with pytest.raises(TruncatedDownload, match="500000 bytes are kept"):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=500000-"]


@pytest.mark.parametrize(("statuses", "requests"), [([404], 1), ([503, 404], 2), ([503, 429, 500], 3)])
def test_only_passing_errors_are_retried(server: Behaviour, tmp_path: Path, statuses: list[int], requests: int) -> None:
    server.statuses = list(statuses)
    with pytest.raises(DownloadFailed, match=f"answered {statuses[-1]}"):
        fetch(server, tmp_path, tries=3)
    assert len(server.requests) == requests
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_refused_connection_is_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Offline, match=f"cannot be reached.*put the file at {tmp_path}"):
            download("tiny", tmp_path, base_url=address, published=TABLE, retry_delays=(0.0,))


@pytest.mark.parametrize("address", ["ftp://127.0.0.1", "nonsense"])
def test_an_invalid_address_fails_at_once(address: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="cannot be downloaded"):
        download("tiny", tmp_path, base_url=address, published=TABLE, retry_delays=(60.0,))


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="tiny"):
        download("huge", tmp_path, published=TABLE)


def test_a_file_larger_than_the_disk_is_refused_before_it_is_written(server: Behaviour, tmp_path: Path) -> None:
    server.claimed_length = 1 << 60
    with pytest.raises(NoDiskSpace, match="more are needed"):
        fetch(server, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_a_disk_that_fills_up_is_named(server: Behaviour, tmp_path: Path) -> None:
    part = tmp_path / f"{FILE}.part"

    def fill_the_disk(received: int, _total: int | None) -> None:
        if received == 0:
            part.unlink()
            part.symlink_to("/dev/full")

    with pytest.raises(NoDiskSpace, match=str(tmp_path)):
        fetch(server, tmp_path, progress=fill_the_disk)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system in memory, with these options, and returns its folder."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("mounting is not permitted here: needs root with CAP_SYS_ADMIN")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_download_fits_later(server: Behaviour, mounted: Callable[[str], Path]) -> None:
    cache = mounted("size=512k")
    server.content, length = CONTENT[:600_000], len(CONTENT)
    server.claimed_length = 400_000  # what is announced fits, what comes does not
    (cache / "other").write_bytes(bytes(300_000))
    with pytest.raises(NoDiskSpace, match=str(cache)):
        fetch(server, cache)
    assert not (cache / FILE).exists()
    subprocess.run(["mount", "-o", "remount,size=2m", str(cache)], check=True)
    server.content, server.claimed_length = CONTENT, length
    assert fetch(server, cache).read_bytes() == CONTENT


def test_a_read_only_cache_is_named_and_its_files_are_used(server: Behaviour, mounted: Callable[[str], Path]) -> None:
    cache = mounted("size=2m")
    subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
    with pytest.raises(DownloadFailed, match=r"cannot be written.*Read-only"):
        fetch(server, cache)
    assert server.requests == []
    subprocess.run(["mount", "-o", "remount,rw", str(cache)], check=True)
    fetch(server, cache)
    subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
    found = cached_path("tiny", cache, TABLE)
    assert found is not None
    assert found.read_bytes() == CONTENT


def test_a_cache_folder_that_cannot_be_is_named(server: Behaviour, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadFailed, match="cannot be written"):
        fetch(server, tmp_path / "file" / "cache")


def test_of_concurrent_calls_one_downloads_and_all_get_the_file(server: Behaviour, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:  # the lock is the same between threads as between processes
        paths = list(pool.map(lambda _: fetch(server, tmp_path), range(4)))
    assert paths == [tmp_path / FILE] * 4
    assert (tmp_path / FILE).read_bytes() == CONTENT
    assert len(server.requests) == 1


PROGRAM = """
import sys
from pathlib import Path
from models.weights.download import download
from models.weights.published import PublishedCheckpoint
file, cache, address = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
print(download("tiny", Path(cache), base_url=address, published={"tiny": PublishedCheckpoint("tiny", file, 1)}))
"""
"""A process that downloads when it is told to."""


@pytest.mark.slow
def test_a_killed_download_leaves_no_lock_and_the_next_process_resumes(
    server: Behaviour, tmp_path: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    server.stalls = [60.0]
    command = [sys.executable, "-c", PROGRAM, FILE, str(tmp_path), server.address]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(3)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        first, *others = started
        tell(first)
        wait_until(lambda: (tmp_path / f"{FILE}.part").exists() and len(server.requests) == 1)
        for process in others:
            tell(process)
        first.kill()
        assert [process.communicate(timeout=60)[0] for process in others] == [f"{tmp_path / FILE}\n"] * 2
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert (tmp_path / FILE).read_bytes() == CONTENT
    assert len(server.requests) == 2  # of the one that was killed, and of one that went on
    assert left_behind(tmp_path) == {FILE}


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
