"""A Hugging Face hub on a real socket: repositories, commits, large files on another host, tokens, and misbehaviour.

Two servers: the hub, and the one that holds large files, to which the hub redirects, as huggingface.co does.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".pt", ".h5")
TOKEN = "hf_secret"


@dataclass
class Repository:
    """The files of each commit, and the commit of each branch or tag. Gated: listed for all, given by token."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    def commit(self, files: dict[str, bytes], ref: str = "main") -> str:
        """Add a commit and return its hash."""
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = files
        self.refs[ref] = name
        return name

    def resolve(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass(frozen=True)
class Asked:
    """A request: to which of the two servers, for what, and with which headers, in small letters."""

    host: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """What there is, what was asked, and what goes wrong.

    `prefix` is the path under which a mirror has everything. `statuses` are those of the next answers of the hub, 200
    for an ordinary one. `cuts[i]` ends the i-th answer with a large file after so many bytes; `resets`: by a reset of
    the connection. `lies` maps a file's name to the bytes that are sent in its place. `announced` is a size to claim
    for large files, `claimed` a commit for all files, `card` an answer about any repository. Large files are held back
    until `released`.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    prefix: str = ""
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    resets: bool = False
    lies: dict[str, bytes] = field(default_factory=dict)
    announced: int | None = None
    claimed: str | None = None
    card: bytes | None = None
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    storage: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.released.set()

    @property
    def endpoint(self) -> str:
        """The value of HF_ENDPOINT."""
        return self.address + self.prefix

    def add(self, name: str, files: dict[str, bytes], ref: str = "main", **kind: bool) -> str:
        """Add a commit to a repository and return its hash."""
        repository = self.repositories.setdefault(name, Repository(**kind))
        return repository.commit(files, ref)

    def gets(self, end: str = "", host: str = "") -> list[Asked]:
        """The downloads so far of files whose address ends so."""
        return [one for one in self.asked if one.method == "GET" and one.path.endswith(end) and host in one.host]

    def large_downloads(self) -> list[str | None]:
        """The ranges of the large files that were asked for; None for a whole file."""
        return [one.headers.get("range") for one in self.gets(host="storage")]


def describe(name: str, content: bytes, announced: int | None) -> dict[str, object]:
    """A file in the answer about a repository, with `?blobs=true`."""
    if not name.endswith(LARGE):
        return {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
    size, digest = announced or len(content), hashlib.sha256(content).hexdigest()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (digest.encode(), size)
    lfs = {"sha256": digest, "size": size, "pointerSize": len(pointer)}
    return {"rfilename": name, "size": size, "blobId": git_sha1(pointer), "lfs": lfs}


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """What both servers have in common."""

    hub: Hub
    host: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.take()

    def do_HEAD(self) -> None:
        self.take()

    def take(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.asked.append(Asked(self.host, self.command, self.path, headers))
        if self.hub.statuses and self.host == "hub" and (status := self.hub.statuses.pop(0)) != 200:
            self.refuse(status)
            return
        path = unquote(urlsplit(self.path).path)
        if not path.startswith(self.hub.prefix):
            self.refuse(404)
            return
        self.answer(path.removeprefix(self.hub.prefix))

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def refuse(self, status: int, code: str | None = None, message: str = "no") -> None:
        named = {} if code is None else {"X-Error-Code": code}
        self.send(status, {"X-Error-Message": message} | named, json.dumps({"error": message}).encode())

    def send(self, status: int, headers: dict[str, str], content: bytes = b"", first: int = 0) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content) - first)} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            with suppress(ConnectionError):
                self.wfile.write(content[first:])

    def log_message(self, *args: object) -> None:
        pass


class HubHandler(Handler):
    """`/api/models/ORG/NAME/revision/REVISION` and `/ORG/NAME/resolve/REVISION/FILE`."""

    host = "hub"

    def answer(self, path: str) -> None:
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path)
        found = api or file
        repository = self.hub.repositories.get(found[1]) if found else None
        if found is None or repository is None or (repository.private and not self.has_token()):
            self.refuse(404 if self.has_token() else 401, "RepoNotFound", "Repository not found")
        elif (commit := repository.resolve(found[2] or "main")) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {found[2]}")
        elif api:
            self.describe(found[1], repository, commit)
        elif repository.gated and not self.has_token():
            self.refuse(401, "GatedRepo", "Access to this model is restricted")
        else:
            self.resolve(repository.commits[commit], commit, found[3])

    def has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def describe(self, name: str, repository: Repository, commit: str) -> None:
        files = [describe(*file, self.hub.announced) for file in repository.commits[commit].items()]
        card = {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": files}
        self.send(200, {"Content-Type": "application/json"}, self.hub.card or json.dumps(card).encode())

    def resolve(self, files: dict[str, bytes], commit: str, name: str) -> None:
        of_commit = {"X-Repo-Commit": self.hub.claimed or commit}
        if name not in files:
            self.send(404, of_commit | {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        content = self.hub.lies.get(name, files[name])
        if not name.endswith(LARGE):
            self.send(200, of_commit | {"ETag": f'"{git_sha1(files[name])}"'}, content)
            return
        size, digest = self.hub.announced or len(files[name]), hashlib.sha256(files[name]).hexdigest()
        linked = {"X-Linked-Size": str(size), "X-Linked-Etag": f'"{digest}"', "ETag": f'"{digest[:32]}"'}
        location = f"{self.hub.storage}{self.hub.prefix}/{digest}/{name}"
        self.send(302, of_commit | linked | {"Location": location}, b"Found")


class StorageHandler(Handler):
    """Large files by their digest, as a network of caches has them: it wants no token, and should see none."""

    host = "storage"

    def answer(self, path: str) -> None:
        digest, name = path.strip("/").split("/")
        commits = [files for one in self.hub.repositories.values() for files in one.commits.values()]
        contents = (files[name] for files in commits if name in files)
        content = next(one for one in contents if hashlib.sha256(one).hexdigest() == digest)
        content = self.hub.lies.get(name, content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        headers = {"ETag": f'"{digest[:32]}"', "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self.hub.released.wait(60)
        if self.hub.cuts:
            self.cut(headers, content[first:], self.hub.cuts.pop(0))
        else:
            self.send(206 if asked else 200, headers, content, first)

    def cut(self, headers: dict[str, str], content: bytes, after: int) -> None:
        """Announce everything, send the beginning, and close the connection."""
        self.send(206 if "Content-Range" in headers else 200, headers | {"Content-Length": str(len(content))}, b"")
        self.wfile.write(content[:after])
        self.close_connection = True
        if self.hub.resets:
            self.wfile.flush()
            time.sleep(0.2)  # what was sent should arrive before the reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that is open while the block lasts; it is empty at first."""
    hub = Hub()
    handlers = [type("Bound", (kind,), {"hub": hub}) for kind in (HubHandler, StorageHandler)]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in handlers]
    # By another name: some versions of huggingface_hub take every port of a host for the hub.
    names = ("127.0.0.1", "localhost")
    hub.address, hub.storage = (
        f"http://{name}:{server.server_port}" for name, server in zip(names, servers, strict=True)
    )
    threads = [threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
