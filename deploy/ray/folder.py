"""Detect in all images of a folder on a Ray cluster, whose machines all see the folder at the same path.

    python -m deploy.ray.folder FOLDER RESULTS [--address auto] [--workers N] [--threads 1] [--gpus 0]
        [--model pages-small] [--query 'attention=exact&threshold=0.5'] [--shard 200]

Writes files of JSON lines into RESULTS, a line for each image. A run that is started again goes on where the last one
ended: images that have a line are skipped, those that failed are tried again. A worker that dies is replaced, and its
images are detected in again. The exit status is 1 if images failed, 2 for a run that cannot start.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

import ray
from pydantic import ValidationError
from ray.exceptions import RayTaskError
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from deploy.ray.folder_results import ResultFolder, image_names
from deploy.ray.folder_run import FolderRun, WorkersKeepDying, shards_of
from deploy.ray.folder_worker import FolderWorker
from service.cli.console import err, progress_bar, reason
from service.detection_options import DetectQuery
from service.errors import BadParameter, invalid_parameters

OBJECT_STORE_BYTES: Final = 100_000_000
"""Of a cluster that lives as long as the run: results are text, and pass one shard at a time."""


def main() -> None:
    """Detect, and report what failed."""
    arguments = _arguments()
    try:
        query = parse_query(arguments.query)
        folder = arguments.folder.resolve()
        names = image_names(folder)
        results = ResultFolder(arguments.results)
        done = results.names()
    except (OSError, ValueError, BadParameter) as error:
        _refuse(reason(error))
    left = [name for name in names if name not in done]
    err.print(f"{len(names)} images, {len(names) - len(left)} of them done already", highlight=False)
    if not left:
        return
    _connect(arguments)
    resources = {"num_cpus": arguments.threads, "num_gpus": arguments.gpus}
    room = workers_that_fit(ray.nodes(), arguments.threads, arguments.gpus)
    workers = arguments.workers or room
    if workers > room or not workers:
        each = f"{arguments.threads} CPUs and {arguments.gpus:g} GPUs each"
        _refuse(f"the cluster has room for {room} workers with {each}")
    device = "cuda" if arguments.gpus else "cpu"
    actor: Any = ray.remote(max_restarts=0, **resources)(FolderWorker)
    make_worker = partial(actor.remote, arguments.model, device, arguments.threads, query)
    columns = (TextColumn("detecting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        bar = progress.add_task("images", total=len(left))
        run = FolderRun(
            folder=str(folder),
            results=results,
            make_worker=make_worker,
            progress=partial(progress.advance, bar),
            notice=lambda text: err.print(escape(text), soft_wrap=True, highlight=False),
        )
        try:
            failures = run.detect(shards_of(left, arguments.shard), workers)
        except RayTaskError as error:
            _refuse(f"a worker cannot start: {reason(error.cause)}")
        except WorkersKeepDying as error:
            _refuse(f"{error}; those results that there are have been kept")
    err.print(f"{len(left) - len(failures)} images detected, {len(failures)} failed", highlight=False)
    raise SystemExit(1 if failures else 0)


def parse_query(text: str) -> DetectQuery:
    """Parse parameters of `/detect`, written as in an address. Raises BadParameter."""
    given = {name: values if name == "labels" else values[-1] for name, values in parse_qs(text).items()}
    try:
        return DetectQuery.model_validate(given)
    except ValidationError as error:
        raise invalid_parameters([{**row, "loc": ("query", *row["loc"])} for row in error.errors()]) from None


def workers_that_fit(nodes: list[dict[str, Any]], threads: int, gpus: float) -> int:
    """Return for how many workers the machines have room, each machine by itself."""
    alive = (node["Resources"] for node in nodes if node["Alive"])
    return sum(
        int(min(has.get("CPU", 0) // threads, has.get("GPU", 0) // gpus if gpus else float("inf"))) for has in alive
    )


def _connect(arguments: argparse.Namespace) -> None:
    """Join the cluster, or start one on this machine that ends with the run."""
    own = {}
    if arguments.address == "local":
        own = {
            "num_cpus": arguments.threads * (arguments.workers or 1),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(address=arguments.address, log_to_driver=False, logging_level=logging.WARNING, **own)
    except (ConnectionError, ValueError) as error:
        _refuse(str(error))


def _refuse(why: str) -> NoReturn:
    err.print(f"[red]{escape(why)}[/red]", soft_wrap=True, highlight=False)
    raise SystemExit(2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of images; those in folders below it count")
    parser.add_argument("results", type=Path, help="folder for part-00000.jsonl, …; need not exist")
    parser.add_argument(
        "--address", default="auto", help="HOST:PORT, auto: the cluster of this machine, local: starts one"
    )
    parser.add_argument("--workers", type=_positive, help="default: as many as the cluster has room for")
    parser.add_argument(
        "--threads", type=_positive, default=1, help="CPUs of a worker, and threads that it computes with"
    )
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of a worker; 0 runs on the CPU, 0.5 shares one")
    parser.add_argument("--model", default="pages-small", help="model name, file, folder, or ORG/NAME of the hub")
    parser.add_argument("--query", default="", help="parameters of /detect, as 'attention=exact&threshold=0.5'")
    parser.add_argument("--shard", type=_positive, default=200, help="images of a part, which a worker takes at a time")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    main()
