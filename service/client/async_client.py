"""The client for programs with an event loop of asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
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
from service.client.pace import NOW, AsyncGate
from service.client.retrying import Answer, RetryPolicy
from service.errors import ServiceError
from service.http.model_schemas import ModelCard
from service.http.schemas import ComparisonResult, DetectionResult, Health

T = TypeVar("T")


class AsyncClient:
    """The same as `Client`, with methods to await. `http` is an AsyncClient of httpx."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._calls = Calls(base_url, api_key, retry or RetryPolicy())
        self._http = http or httpx.AsyncClient(**connection_options(timeout))
        self._owned = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._http.aclose()

    async def detect(
        self, image: AnyImage, *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> DetectionResult:
        """Return the objects in one image."""
        return await self._run(self._calls.detect(await _read(image), options, request_id))

    async def detect_drawn(
        self, image: AnyImage, *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> bytes:
        """Return a PNG of the image with its objects drawn."""
        return await self._run(self._calls.detect_drawn(await _read(image), options, request_id))

    async def detect_batch(
        self, images: Sequence[AnyImage], *, request_id: str | None = None, **options: Unpack[DetectOptions]
    ) -> list[DetectionResult | ServiceError]:
        """Return the result of each image of one request, in order; a bad image has its error, which is not raised."""
        data = [await _read(image) for image in images]
        return await self._run(self._calls.detect_batch(data, options, request_id))

    async def compare(
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
        return await self._run(self._calls.compare(await _read(image), {**sides, **options}, request_id))

    def detect_many(
        self,
        files: Iterable[str | os.PathLike[str]],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        drawn: bool = False,
        **options: Unpack[DetectOptions],
    ) -> AsyncGenerator[FileOutcome, None]:
        """Yield as `Client.detect_many`. Where you stop early, close the generator (`contextlib.aclosing`)."""
        query_of(options)
        check_concurrency(concurrency)
        gate = AsyncGate(concurrency)

        async def one(path: Path) -> FileOutcome:
            try:
                image = await _read(path)
                result = await self._run(self._calls.detect(image, options, None), gate)
                if not drawn:
                    return FileOutcome(path, result)
                picture = await self._run(self._calls.detect_drawn(image, options, None), gate)
            except (ServiceError, OSError) as error:
                return FileOutcome(path, error=error)
            return FileOutcome(path, result, drawn=picture)

        return _stream(one, map(Path, files), concurrency, ordered)

    def detect_folder(
        self,
        folder: str | os.PathLike[str],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        drawn: bool = False,
        **options: Unpack[DetectOptions],
    ) -> AsyncGenerator[FileOutcome, None]:
        """Do the same as `detect_many` for the images below a folder: see `image_files`."""
        if not Path(folder).is_dir():
            raise NotADirectoryError(f"{folder} is not a folder")
        return self.detect_many(image_files([folder]), concurrency=concurrency, ordered=ordered, drawn=drawn, **options)

    async def model(self) -> ModelCard:
        """Return the model's name, classes, default options and limits."""
        return await self._run(self._calls.model())

    async def health(self) -> Health:
        """Return that the process is alive. Raises WorkerDead if only a restart helps. Not tried again."""
        return await self._run(self._calls.health("/livez"))

    async def ready(self) -> Health:
        """Return that requests are accepted. Raises NotReady, Draining or WorkerDead if not. Not tried again."""
        return await self._run(self._calls.health("/readyz"))

    async def _run(self, call: Call[T], gate: AsyncGate | None = None) -> T:
        attempts, gate = call.attempts(), gate or AsyncGate(1)
        pause: float | None = NOW
        while True:
            await gate.enter(pause or NOW)
            pause = None
            try:
                answer = await self._attempt(call)
                pause = attempts.pause_after(answer)
            finally:
                gate.leave(refused=pause is not None)
            if pause is None:
                return call.result(answer)

    async def _attempt(self, call: Call[Any]) -> Answer:
        try:
            return await self._http.request(call.method, call.url, **call.arguments)
        except httpx.RequestError as error:
            return error


async def _read(image: AnyImage) -> bytes:
    """Read a file, or encode pixels, on another thread."""
    return image if isinstance(image, bytes) else await asyncio.to_thread(image_bytes, image)


async def _stream(
    work: Callable[[Path], Awaitable[FileOutcome]], paths: Iterable[Path], concurrency: int, ordered: bool
) -> AsyncGenerator[FileOutcome, None]:
    """Yield the outcomes of all paths; where the generator is closed early, what is under way is cancelled."""
    running: list[asyncio.Future[FileOutcome]] = []
    slots = asyncio.Semaphore(concurrency)

    async def in_turn(path: Path) -> FileOutcome:
        async with slots:
            return await work(path)

    try:
        for path in paths:
            if len(running) == 2 * concurrency:
                yield await _next(running, ordered)
            running.append(asyncio.ensure_future(in_turn(path)))
        while running:
            yield await _next(running, ordered)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _next(running: list[asyncio.Future[FileOutcome]], ordered: bool) -> FileOutcome:
    if not ordered:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    one = running[0] if ordered else next(future for future in running if future.done())
    outcome = await one
    running.remove(one)
    return outcome
