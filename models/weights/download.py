"""Download of published checkpoints into the cache folder: resumable, checked, atomic."""

from __future__ import annotations

import errno
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from models.weights.cache import locked, place_in_cache, published_checkpoint
from models.weights.errors import DownloadFailed, NoDiskSpace, Offline, TruncatedDownload
from models.weights.partial_file import PartialFile
from models.weights.published import PUBLISHED, PublishedCheckpoint

Progress = Callable[[int, int | None], None]

RETRY_DELAYS: Final = (0.5, 2.0, 5.0)
TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(
    name: str,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    base_url: str | None = None,
    *,
    published: Mapping[str, PublishedCheckpoint] = PUBLISHED,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Path:
    """Download the file of a published model unless the cache folder holds it, and return its path.

    `progress(bytes so far, bytes in all or None)` is called as data arrives, starting at what an earlier try
    left. `base_url` names a mirror's folder; `retry_delays` are the seconds to wait before each further try
    after a passing error. Of several processes that ask at once, one downloads and the others wait for it.

    Raises UnknownModel, Offline, TruncatedDownload, TamperedDownload, NoDiskSpace or DownloadFailed.
    """
    checkpoint = published_checkpoint(name, published)
    target = place_in_cache(checkpoint, cache_dir)
    part = PartialFile(target, checkpoint.url(base_url))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            if not target.is_file():
                _fetch(part, progress or _silent, retry_delays)
                part.finish(checkpoint.sha256_prefix)
    except OSError as error:
        raise _disk_error(error, target.parent) from error
    return target


def _fetch(part: PartialFile, progress: Progress, retry_delays: Sequence[float]) -> None:
    """Complete the part, over as many connections as the tries allow."""
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True) as client:
        for delay in (*retry_delays, None):
            try:
                _receive(client, part, progress)
                return
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if delay is None or not _may_pass(error):
                    raise _network_error(error, part) from error
                time.sleep(delay)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _network_error(error, part) from error


def _receive(client: httpx.Client, part: PartialFile, progress: Progress) -> None:
    """One request: the rest of the file, or all of it where the server does not resume."""
    with client.stream("GET", part.url, headers=part.request_headers()) as response:
        if response.status_code == 416:
            if _length_in_all(response) == part.size:
                return  # an earlier try received everything, and ended before it could be checked
            part.discard()
            raise httpx.RemoteProtocolError("what was left of an earlier try no longer fits")
        response.raise_for_status()
        if response.status_code != 206 or _first_byte(response) != part.size:
            if response.status_code == 206:
                part.discard()
                raise httpx.RemoteProtocolError("the server sent another part than asked for")
            part.start(response)
        total = _length_in_all(response)
        _check_space(part, total)
        progress(part.size, total)
        with part.path.open("ab") as file:
            for chunk in response.iter_raw():  # as it comes: a chunk size would lose the last piece of a cut
                file.write(chunk)
                progress(file.tell(), total)
        if total is not None and part.size != total:
            raise httpx.RemoteProtocolError(f"{part.size} of {total} bytes arrived")


def _length_in_all(response: httpx.Response) -> int | None:
    """Bytes of the whole file, whichever part of it this response carries."""
    match = re.fullmatch(r"bytes .*/(\d+)", response.headers.get("Content-Range", ""))
    if match:
        return int(match[1])
    length = response.headers.get("Content-Length", "")
    return int(length) if response.status_code == 200 and length.isdecimal() else None


def _first_byte(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _check_space(part: PartialFile, total: int | None) -> None:
    """Fail before writing rather than after filling the disk."""
    missing = 0 if total is None else total - part.size
    if missing > shutil.disk_usage(part.target.parent).free:
        raise OSError(errno.ENOSPC, f"{missing / 1e6:.0f} MB more are needed")


def _may_pass(error: httpx.HTTPError) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in TRANSIENT_STATUSES
    return not isinstance(error, httpx.UnsupportedProtocol)


def _network_error(error: Exception, part: PartialFile) -> DownloadFailed:
    by_hand = f"or put the file at {part.target} by hand"
    if isinstance(error, httpx.HTTPStatusError):
        return DownloadFailed(f"{part.url} answered {error.response.status_code}; try later, {by_hand}")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Offline(f"{part.url} cannot be reached ({error}); go online, {by_hand}")
    if isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol):
        return TruncatedDownload(
            f"{part.url} was cut off ({error or type(error).__name__}); "
            f"{part.size} bytes are kept in {part.path}, and the next download goes on from there"
        )
    return DownloadFailed(f"{part.url} cannot be downloaded ({error})")


def _disk_error(error: OSError, folder: Path) -> DownloadFailed:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoDiskSpace(f"no space is left in the cache folder {folder} ({error.strerror})")
    return DownloadFailed(f"the cache folder {folder} cannot be written ({error})")


def _silent(_received: int, _total: int | None) -> None:
    """Ignore progress."""
