"""Shares a folder's images out among workers, and replaces workers that die."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from deploy.ray.folder_results import ResultFolder, ShardResult

MAX_DEATHS_OF_IMAGE: Final = 3
"""Workers that may die with one image, each time alone with it, before the image counts as failed."""
MAX_DEATHS: Final = 100
"""Workers that may die in a run: with more, the cause is not an image."""


class WorkersKeepDying(RuntimeError):
    """More workers died than single images account for."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Images that one worker detects in, one after another. `deaths` counts workers that died with this image alone."""

    names: Sequence[str]
    deaths: int = 0

    def after_death(self) -> list[Shard]:
        """What is done in its place: halves, so that an image that kills its worker ends up alone."""
        if len(self.names) == 1:
            return [Shard(self.names, self.deaths + 1)]
        half = len(self.names) // 2
        return [Shard(self.names[:half]), Shard(self.names[half:])]


def shards_of(names: Sequence[str], size: int) -> list[Shard]:
    """Cut the images into shards of `size`, the last of what is left."""
    return [Shard(names[start : start + size]) for start in range(0, len(names), size)]


@dataclass(slots=True)
class FolderRun:
    """One run. `make_worker` returns the handle of an actor of `FolderWorker` that Ray starts.

    `progress` is called with the images that are done after every shard, `notice` with what a person should know.
    """

    folder: str
    results: ResultFolder
    make_worker: Callable[[], Any]
    progress: Callable[[int], None]
    notice: Callable[[str], None]
    failures: dict[str, str] = field(default_factory=dict)
    _waiting: deque[Shard] = field(default_factory=deque)
    _calls: dict[Any, tuple[Any, Shard | None]] = field(default_factory=dict)
    _deaths: int = 0

    def detect(self, shards: Sequence[Shard], workers: int) -> Mapping[str, str]:
        """Detect in all shards with so many workers; returns why images failed, by name.

        A worker gets its first shard when it has loaded the model, so that one that Ray has no room for holds nothing
        up. Raises what loading raises, as Ray passes it on (RayTaskError), and WorkersKeepDying.
        """
        self._waiting.extend(shards)
        for _ in range(min(workers, len(shards))):
            self._start_worker()
        while self._waiting or any(shard is not None for _, shard in self._calls.values()):
            (done,), _ = ray.wait(list(self._calls), num_returns=1)
            worker, shard = self._calls.pop(done)
            try:
                self._take(shard, done)
            except RayTaskError:
                raise
            except RayError:  # it crashed, Ray killed it for memory, or its machine is gone
                self._replace(shard)
            else:
                self._give(worker)
        return self.failures

    def _start_worker(self) -> None:
        worker = self.make_worker()
        self._calls[worker.load.remote()] = (worker, None)

    def _give(self, worker: Any) -> None:
        """Give a worker the next shard; without one, let it end."""
        if self._waiting:
            shard = self._waiting.popleft()
            self._calls[worker.detect.remote(self.folder, shard.names)] = (worker, shard)

    def _take(self, shard: Shard | None, done: Any) -> None:
        """Keep the result of a call: lines in a part of their own, and failures."""
        if shard is None:
            ray.get(done)
            return
        try:
            result: ShardResult = ray.get(done)
        except RayTaskError as error:  # a fault of the program
            result = ShardResult((), dict.fromkeys(shard.names, str(error.cause)))
        self.results.add(result.lines)
        self._fail(result.failures)
        self.progress(len(shard.names))

    def _replace(self, shard: Shard | None) -> None:
        """Put back what a dead worker had, and start another."""
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise WorkersKeepDying(f"{self._deaths} workers died")
        self.notice("a worker died: another takes its place")
        for again in shard.after_death() if shard else ():
            if again.deaths < MAX_DEATHS_OF_IMAGE:
                self._waiting.appendleft(again)
            else:
                self._fail(dict.fromkeys(again.names, f"{again.deaths} workers died with it"))
                self.progress(len(again.names))
        self._start_worker()

    def _fail(self, failures: Mapping[str, str]) -> None:
        self.failures |= failures
        for name, why in failures.items():
            self.notice(f"{name}: {why}")
