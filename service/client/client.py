"""The client for programs without an event loop. It may be shared by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from service.client.calls import Call, Calls
from service.client.connections import DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT, check_concurrency, connection_options
from service.client.file_outcome import FileOutcome
from service.client.folders import image_files
from service.client.image_bytes import AnyImage, image_bytes
from service.client.options import CompareOptions, DetectOptions, query_of
from service.client.pace import NOW, Gate
from service.client.retrying import Answer, RetryPolicy
from service.errors import ServiceError
from service.http.model_schemas import ModelCard
from service.http.schemas import ComparisonResult, DetectionResult, Health

T = TypeVar("T")


class Client:
    """A client of the service at `base_url`, which may have a path (`https://example.org/vision`).

    `timeout` is in seconds, for each step of an attempt: the body sent, the answer begun. It should be more than the
    service's deadline. `http` is a client of httpx to use instead of an own one, for proxies and certificates; it has
    its own timeout, and is not closed here. Raises ValueError for an address or key that cannot be one.

    Methods raise ServiceError, a class for each cause of refusal; NoAnswer, an OSError, where nothing answers; and what
    `image_bytes` raises. Refusals for now (429, 503) and failed connections are tried again as `retry` says.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._calls = Calls(base_url, api_key, retry or RetryPolicy())
        self._http = http or httpx.Client(**connection_options(timeout))
        self._owned = http is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._http.close()

    def detect(
        self, image: AnyImage, *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> DetectionResult:
        """Return the objects in one image."""
        return self._run(self._calls.detect(image_bytes(image), options, request_id))

    def detect_drawn(
        self, image: AnyImage, *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> bytes:
        """Return a PNG of the image with its objects drawn."""
        return self._run(self._calls.detect_drawn(image_bytes(image), options, request_id))

    def detect_batch(
        self, images: Sequence[AnyImage], *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> list[DetectionResult | ServiceError]:
        """Return the result of each image of one request, in order; a bad image has its error, which is not raised."""
        return self._run(self._calls.detect_batch([image_bytes(image) for image in images], options, request_id))

    def compare(
        self,
        image: AnyImage,
        left: str,
        right: str,
        *,
        request_id: str | None = None,
        **options: Unpack[CompareOptions],
    ) -> ComparisonResult:
        """Return the objects in one image by two attention settings, such as `exact` and `tangent:C=16`, in pairs."""
        sides = {"left": left, "right": right}
        return self._run(self._calls.compare(image_bytes(image), {**sides, **options}, request_id))

    def detect_many(
        self,
        files: Iterable[str | os.PathLike[str]],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        drawn: bool = False,
        **options: Unpack[DetectOptions],
    ) -> Iterator[FileOutcome]:
        """Yield what comes of each file, in their order; not `ordered`: as they complete.

        At most `concurrency` requests are under way, fewer while the service refuses for now. Files are read when it is
        their turn, and at most 2 x `concurrency` outcomes wait to be taken. A file that fails yields its error. `drawn`
        asks for the picture too, with a second request. Raises BadParameter.
        """
        query_of(options)
        check_concurrency(concurrency)
        gate = Gate(concurrency)

        def one(path: Path) -> FileOutcome:
            try:
                image = path.read_bytes()
                result = self._run(self._calls.detect(image, options, None), gate)
                if not drawn:
                    return FileOutcome(path, result)
                picture = self._run(self._calls.detect_drawn(image, options, None), gate)
            except (ServiceError, OSError) as error:
                return FileOutcome(path, error=error)
            return FileOutcome(path, result, drawn=picture)

        return _stream(one, map(Path, files), concurrency, ordered, gate)

    def detect_folder(
        self,
        folder: str | os.PathLike[str],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        drawn: bool = False,
        **options: Unpack[DetectOptions],
    ) -> Iterator[FileOutcome]:
        """Do the same as `detect_many` for the images below a folder: see `image_files`."""
        if not Path(folder).is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")
        return self.detect_many(image_files([folder]), concurrency=concurrency, ordered=ordered, drawn=drawn, **options)

    def model(self) -> ModelCard:
        """Return the model's name, classes, default options and limits."""
        return self._run(self._calls.model())

    def health(self) -> Health:
        """Return that the process is alive. Raises WorkerDead if only a restart helps. Not tried again."""
        return self._run(self._calls.health("/livez"))

    def ready(self) -> Health:
        """Return that requests are accepted. Raises NotReady, Draining or WorkerDead if not. Not tried again."""
        return self._run(self._calls.health("/readyz"))

    def _run(self, call: Call[T], gate: Gate | None = None) -> T:
        attempts, gate = call.attempts(), gate or Gate(1)
        pause: float | None = NOW
        while True:
            gate.enter(pause or NOW)
            pause = None
            try:
                answer = self._attempt(call)
                pause = attempts.pause_after(answer)
            finally:
                gate.leave(refused=pause is not None)
            if pause is None:
                return call.result(answer)

    def _attempt(self, call: Call[Any]) -> Answer:
        try:
            return self._http.request(call.method, call.url, **call.arguments)
        except httpx.RequestError as error:
            return error


def _stream(
    work: Callable[[Path], FileOutcome], paths: Iterable[Path], concurrency: int, ordered: bool, gate: Gate
) -> Iterator[FileOutcome]:
    """Yield the outcomes of all paths; where the caller stops early, nothing more is sent."""
    running: deque[Future[FileOutcome]] = deque()
    with ExitStack() as end:
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="detect")
        end.callback(pool.shutdown, cancel_futures=True)
        end.callback(gate.close)
        for path in paths:
            if len(running) == 2 * concurrency:
                yield _next(running, ordered)
            running.append(pool.submit(work, path))
        while running:
            yield _next(running, ordered)


def _next(running: deque[Future[FileOutcome]], ordered: bool) -> FileOutcome:
    if ordered:
        return running.popleft().result()
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    one = next(future for future in running if future in done)
    running.remove(one)
    return one.result()
