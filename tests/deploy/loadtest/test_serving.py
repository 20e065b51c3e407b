"""What serving costs, as a program with a real service around a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deploy.loadtest.load import Mix
from deploy.loadtest.serving import LOOP, OVERLAPPED, in_process, main, named
from models.detector import load_detector

ARGUMENTS = ["--seconds", "0.3", "--rounds", "1", "--callers", "2"]


@pytest.mark.slow
def test_both_ways_in_process_are_beside_http_and_shares_are_of_the_better(image: Path, tmp_path: Path) -> None:
    output, threads = tmp_path / "results.json", torch.get_num_threads()
    try:
        main([*ARGUMENTS, "--threads", "1", "2", "--image", str(image), "--output", str(output)])
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(output.read_text())["rows"]
    assert [(row["threads"], row["streams"], row["how"], row["callers"]) for row in rows] == [
        (1, 1, LOOP, None),
        (1, 1, "http", 2),
        (2, 2, LOOP, None),
        (2, 2, OVERLAPPED, None),
        (2, 2, "http", 2),
    ]
    assert all(row["images_per_s"] > 0 and row["ms"] > 0 for row in rows)
    for threads_of_row in (1, 2):
        inside = [row["share"] for row in rows if row["threads"] == threads_of_row and row["callers"] is None]
        assert max(inside) == 1


def test_loops_side_by_side_answer_every_image_they_began(image: Path) -> None:
    detector = load_detector(str(image.with_name("tiny.safetensors")), device="cpu")
    rate, milliseconds = in_process(detector, Mix((image.read_bytes(),), ("attention=exact",)), 0.0, 2, 2)
    assert rate > 0  # even without time, each loop runs one image
    assert milliseconds > 0


def test_rows_are_named_in_words() -> None:
    assert named("http", 1, 2) == "HTTP, 1 caller"
    assert named("http", 4, 2) == "HTTP, 4 callers"
    assert named(LOOP, None, 2) == "in process, one image after another"
    assert named(OVERLAPPED, None, 2) == "in process, 2 at a time"
