"""Models of the hub, each asked for by a process of its own that starts at once.

huggingface_hub reads its environment variables when it is imported. So this program imports everything else, PyTorch
too, and reads jobs, a line of JSON each: a list of jobs that run at the same time. Each is done by a fork, which sets
the job's environment variables before it imports huggingface_hub, and prints a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any

import numpy as np
import torch

from models.attention_config import AttentionConfig
from models.detector import load_detector
from models.training.starting_point import starting_point
from models.weights import fetch, kept_models, resolve
from models.weights.errors import WeightsError
from models.weights.hub import HubModel, fetch_snapshot
from models.weights.transformers_config import read_transformers_config


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def do(job: dict[str, Any], calls: list[tuple[int, int | None]]) -> dict[str, Any]:
    """Do what `job["do"]` names."""

    def progress(done: int, total: int | None) -> None:
        calls.append((done, total))

    model = job.get("model", "")
    if job["do"] == "snapshot":
        named = HubModel.parse(model)
        assert named is not None
        return {"folder": str(fetch_snapshot(named, read_transformers_config, progress, job.get("delays", [])))}
    if job["do"] == "resolve":
        loaded = resolve(model, progress=progress)
        return {"name": loaded.config.name, "source": loaded.source, "commit": loaded.commit}
    if job["do"] == "fetch":
        return {"folder": str(fetch(model, None, progress))}
    if job["do"] == "detect":
        detector = load_detector(model, device="cpu")
        prepared = detector.preprocess(np.load(job["image"]))
        output = detector.outputs([prepared], AttentionConfig.exact())
        told = {"name": detector.name, "commit": detector.commit, "engine": detector.family.engine}
        return told | {"logits": output.logits.tolist(), "boxes": output.boxes_cxcywh.tolist()}
    if job["do"] == "starting point":
        start = starting_point(model)
        return {"name": start.config.name, "labels": start.config.labels}
    if job["do"] == "kept":
        return {"kept": [[str(one.model), str(one.folder), one.size] for one in kept_models()]}
    if job["do"] == "embedded":
        load_detector(model, device="cpu")
        return {"imported": sorted(name for name in sys.modules if name.partition(".")[0] == "huggingface_hub")}
    raise ValueError(job["do"])


def run(job: dict[str, Any]) -> dict[str, Any]:
    records = Records()
    logging.getLogger().addHandler(records)
    logging.getLogger("models").setLevel(logging.INFO)
    calls: list[tuple[int, int | None]] = []
    try:
        result = do(job, calls)
    except WeightsError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    except Exception:
        result = {"error": "unexpected", "message": traceback.format_exc()}
    return result | {"progress": calls, "log": records.lines}


def start(job: dict[str, Any]) -> tuple[int, int]:
    """Fork; return the process and the end of the pipe to which it writes its result."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    os.environ.update(job["environment"])
    os.chdir(job.get("directory", "."))
    if "chunk" in job:
        import huggingface_hub.constants

        huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = job["chunk"]
    with os.fdopen(writing, "w") as pipe:
        json.dump(run(job), pipe)
    os._exit(0)


def main() -> None:
    torch.set_num_threads(1)
    assert "huggingface_hub" not in sys.modules
    for line in sys.stdin:
        results = []
        for process, pipe in [start(job) for job in json.loads(line)]:
            with os.fdopen(pipe) as file:
                text = file.read()
            os.waitpid(process, 0)
            results.append(json.loads(text) if text else {"error": "ended"})
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
