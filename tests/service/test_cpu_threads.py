from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from service.cpu_threads import compute_with


@pytest.fixture
def restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored")
def test_each_thread_computes_with_its_own_number() -> None:
    compute_with(1)
    numbers = []
    other = threading.Thread(target=lambda: (compute_with(3), numbers.append(torch.get_num_threads())))
    other.start()
    other.join()
    assert (numbers, torch.get_num_threads()) == ([3], 1)


@pytest.mark.usefixtures("restored")
def test_a_number_that_another_thread_sets_later_changes_nothing() -> None:
    numbers = []
    chosen, changed = threading.Event(), threading.Event()

    def compute() -> None:
        compute_with(3)
        chosen.set()
        assert changed.wait(10)
        torch.ones(2).sum()
        numbers.append(torch.get_num_threads())

    other = threading.Thread(target=compute)
    other.start()
    assert chosen.wait(10)
    compute_with(1)
    changed.set()
    other.join()
    assert numbers == [3]


@pytest.mark.parametrize(("streams", "own"), [(1, 4), (2, 2), (3, 1), (9, 1)])
@pytest.mark.usefixtures("restored")
def test_only_inference_threads_have_pools(
    start: Any, detector: Any, png: bytes, monkeypatch: Any, streams: int, own: int
) -> None:
    numbers: dict[str, int] = {}

    def noting(function: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            thread = re.split("[-_]", threading.current_thread().name)[0]
            numbers[f"{thread}: {function.__name__}"] = torch.get_num_threads()
            return function(*arguments)

        return noted

    for name in ("preprocess", "predict", "warm_up", "measure_attention"):
        monkeypatch.setattr(detector, name, noting(getattr(detector, name)))
    with start(threads=4, streams=streams) as server:
        assert server.client.post("/detect", content=png).status_code == 200
    on_the_device = dict.fromkeys(("inference: predict", "inference: warm_up", "inference: measure_attention"), own)
    assert numbers == {"decode: preprocess": 1} | on_the_device
