"""A folder's images on Ray: what is left to do, who does it, and a cluster of two workers that loses one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.ray.folder_results import ResultFolder, image_names

ROOT = Path(__file__).parents[2]
NO_RAY = "Ray is not installed: pip install '.[ray]'"
IMAGES = 24
PATIENCE_SECONDS = 240


def environment() -> dict[str, str]:
    """That of a cluster in which Ray kills no worker because the machine's memory is full."""
    from deploy.ray.cluster import environment

    return environment(second_try=False) | {"RAY_memory_monitor_refresh_ms": "0"}


def line(name: str) -> str:
    return json.dumps({"file": name})


def test_images_are_found_in_folders_below_by_their_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.JPEG", "b/1.png", "a.tif", "notes.txt", "b/part-00000.jsonl"):
        (tmp_path / name).touch()
    assert image_names(tmp_path) == ["a.tif", "b/1.png", "b/2.JPEG"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such folder"):
        image_names(tmp_path / "missing")


def test_results_go_on_after_those_that_are_there(tmp_path: Path) -> None:
    first = ResultFolder(tmp_path / "results")
    assert first.names() == set()
    first.add([line("a.png"), line("ü b.png")])
    first.add([])
    again = ResultFolder(tmp_path / "results")
    assert again.names() == {"a.png", "ü b.png"}
    again.add([line("c.png")])
    assert sorted(part.name for part in (tmp_path / "results").iterdir()) == ["part-00000.jsonl", "part-00001.jsonl"]
    assert ResultFolder(tmp_path / "results").names() == {"a.png", "ü b.png", "c.png"}


def test_a_shard_whose_worker_died_is_halved_until_one_image_is_left() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from deploy.ray.folder_run import Shard, shards_of

    assert [shard.names for shard in shards_of(["a", "b", "c"], 2)] == [["a", "b"], ["c"]]
    assert [shard.names for shard in Shard(["a", "b", "c"]).after_death()] == [["a"], ["b", "c"]]
    assert Shard(["a"], 1).after_death() == [Shard(["a"], 2)]


def test_workers_fit_on_each_machine_by_itself() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from deploy.ray.folder import workers_that_fit

    def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, object]:
        return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}

    nodes = [node(3), node(2, 1), node(9, 9, alive=False)]
    assert workers_that_fit(nodes, 2, 0) == 2
    assert workers_that_fit(nodes, 1, 0.5) == 2
    assert workers_that_fit(nodes, 4, 0) == 0


def test_a_query_has_the_parameters_of_detect() -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from deploy.ray.folder import parse_query
    from service.errors import BadParameter

    query = parse_query("attention=act&L=8&labels=text&labels=title")
    assert (query.attention, query.L, query.labels) == ("act", 8, ["text", "title"])
    with pytest.raises(BadParameter, match="treshold: There is no such parameter"):
        parse_query("treshold=1")


def test_a_worker_computes_with_its_own_threads_and_names_what_fails(tmp_path: Path) -> None:
    from deploy.ray.folder_worker import FolderWorker
    from service.detection_options import DetectQuery

    Image.new("RGB", (80, 60), "white").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    names = ["a.png", "broken.png", "missing.png"]
    worker = FolderWorker("pages-small", "cpu", 2, DetectQuery(attention="exact", threshold=0, max_detections=3))
    with ThreadPoolExecutor(1) as thread:  # as in the process of an actor, whose threads are no other's
        assert thread.submit(worker.load).result() == 2
        result = thread.submit(worker.detect, str(tmp_path), names).result()
    (row,) = map(json.loads, result.lines)
    assert (row["file"], row["image"], row["model"]) == ("a.png", {"width": 80, "height": 60}, "pages-small")
    assert (len(row["detections"]), row["attention"]["mode"]) == (3, "exact")
    assert result.failures["broken.png"].startswith("This is not a supported image")
    assert result.failures["missing.png"] == "No such file or directory"


DEADLY = """
import json, os, sys
from pathlib import Path

import ray
from deploy.ray.folder_results import ResultFolder, ShardResult
from deploy.ray.folder_run import FolderRun, shards_of

class Worker:
    def load(self):
        return 1

    def detect(self, folder, names):
        if "deadly.png" in names:
            os._exit(1)
        return ShardResult([json.dumps({"file": name}) for name in names], {})

options = {"object_store_memory": 100_000_000, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
ray.init(address="local", num_cpus=2, log_to_driver=False, **options)
notices, done = [], []
make_worker = ray.remote(num_cpus=1, max_restarts=0)(Worker).remote
run = FolderRun("", ResultFolder(Path(sys.argv[1])), make_worker, done.append, notices.append)
failures = run.detect(shards_of(["a.png", "b.png", "deadly.png", "e.png"], 4), 2)
outcome = {"failures": failures, "done": sum(done), "deaths": sum("died:" in notice for notice in notices)}
Path(sys.argv[2]).write_text(json.dumps(outcome))
"""
"""A program whose workers die with one of its images."""


@pytest.mark.slow
def test_an_image_that_kills_its_workers_fails_by_itself(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    results, told = tmp_path / "results", tmp_path / "outcome.json"
    program = [sys.executable, "-c", DEADLY, str(results), str(told)]
    done = subprocess.run(
        program, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(told.read_text())
    assert (outcome["failures"], outcome["done"]) == ({"deadly.png": "3 workers died with it"}, 4)
    assert outcome["deaths"] >= 5  # with four images, with the two of the second half, and three times with one
    assert ResultFolder(results).names() == {"a.png", "b.png", "e.png"}


def descendants(ancestor: int, beginning: bytes) -> list[int]:
    """Processes below `ancestor` whose command line begins so: Ray names its workers by what they do."""
    parents, named = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(beginning):
                named.append(int(folder.name))
        except OSError:
            continue  # it has ended

    def below(pid: int) -> bool:
        while pid > 1 and pid != ancestor:
            pid = parents.get(pid, 0)
        return pid == ancestor

    return [pid for pid in named if below(pid)]


def command(folder: Path, results: Path) -> list[str]:
    options = ["--address=local", "--workers=2", "--shard=2", "--query=attention=exact&threshold=0"]
    return [sys.executable, "-m", "deploy.ray.folder", str(folder), str(results), *options]


@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_SECONDS)
def test_a_worker_that_is_killed_loses_no_image_and_a_second_run_does_what_failed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=NO_RAY)
    from models import AttentionConfig, load_detector

    folder, results = tmp_path / "images", tmp_path / "results"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(IMAGES):
        Image.fromarray(random.integers(0, 256, (300, 300, 3), np.uint8)).save(folder / f"{index:02}.png")
    (folder / "broken.png").write_bytes(b"no image")
    log = tmp_path / "log"
    with log.open("w") as output:
        run = subprocess.Popen(command(folder, results), cwd=ROOT, env=environment(), stdout=output, stderr=output)
        try:
            killed = kill_one_worker(run, results)
            status = run.wait(PATIENCE_SECONDS)
        finally:
            run.terminate()
            run.wait()
    said = log.read_text()
    assert killed, said
    assert status == 1, said
    assert "a worker died: another takes its place" in said
    assert "broken.png: This is not a supported image" in said
    lines = [json.loads(text) for part in sorted(results.iterdir()) for text in part.read_text().splitlines()]
    assert sorted(row["file"] for row in lines) == [f"{index:02}.png" for index in range(IMAGES)]
    pixels = np.asarray(Image.open(folder / lines[0]["file"]))
    expected = load_detector(device="cpu").detect(pixels, AttentionConfig.exact()).detections
    assert len(lines[0]["detections"]) == len(expected.select(nms=0.7))

    Image.fromarray(pixels).save(folder / "broken.png")
    again = subprocess.run(command(folder, results), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{IMAGES + 1} images, {IMAGES} of them done already" in again.stderr
    assert "broken.png" in ResultFolder(results).names()


def kill_one_worker(run: subprocess.Popen[bytes], results: Path) -> bool:
    """Kill -9 a worker as soon as there is a result; return whether one was killed."""
    end = time.monotonic() + PATIENCE_SECONDS
    while run.poll() is None and time.monotonic() < end:
        if list(results.glob("part-*")):
            for pid in descendants(run.pid, b"ray::FolderWorker.detect"):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False
