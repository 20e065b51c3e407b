"""An incomplete download and its origin, kept so that a later one resumes."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.weights.errors import TamperedDownload
from models.whole_file import sync_folder


@dataclass(frozen=True, slots=True)
class PartialFile:
    """`<name>.part` beside the file to come; `<name>.part.json` says of which version of which URL it is."""

    target: Path
    url: str

    @property
    def path(self) -> Path:
        """What has arrived."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def origin(self) -> Path:
        """Where the URL and the server's validator are noted."""
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest of the same version where the server can tell, else for the whole file."""
        headers = {"Accept-Encoding": "identity"}
        validator = self._validator()
        if self.size and validator:
            headers |= {"Range": f"bytes={self.size}-", "If-Range": validator}
        return headers

    def start(self, response: httpx.Response) -> None:
        """Start again from the first byte, which this response carries."""
        self.discard()
        self.path.touch()
        etag = response.headers.get("ETag", "")
        # A weak tag promises the same meaning, not the same bytes: it may not be used with If-Range.
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        self.origin.write_text(json.dumps({"url": self.url, "validator": validator}), encoding="utf-8")

    def finish(self, sha256_prefix: str) -> None:
        """Check the digest of the whole file and give it its name, durably and at once.

        Raises TamperedDownload, having deleted everything, where the digest does not begin as expected.
        """
        with self.path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if not digest.startswith(sha256_prefix):
            self.discard()
            raise TamperedDownload(
                f"{self.url} is not the published file: its sha256 should begin with {sha256_prefix} "
                f"but is {digest}; nothing was kept"
            )
        os.replace(self.path, self.target)
        self.origin.unlink(missing_ok=True)
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)

    def _validator(self) -> str | None:
        try:
            origin = json.loads(self.origin.read_text(encoding="utf-8"))
            validator = origin["validator"] if origin["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return validator if isinstance(validator, str) else None
