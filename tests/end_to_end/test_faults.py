"""Faults of the device, as callers and probes see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.attention_config import AttentionConfig
from models.detections import Prediction
from models.detector import Detector, DeviceOutOfMemory
from models.preprocess import PreparedImage


class FaultyDetector(Detector):
    """A real detector on a device with room for `room` images at once, which dies when `dead` is set."""

    room = 100
    dead = False

    def __init__(self, sound: Detector) -> None:
        self.__dict__.update(vars(sound))
        self.sizes: list[int] = []

    def predict(
        self,
        images: Sequence[PreparedImage],
        attention: AttentionConfig,
        thresholds: Sequence[float] | None = None,
        masks: bool | Sequence[bool] = False,
    ) -> list[Prediction]:
        self.sizes.append(len(images))
        if self.dead:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if len(images) > self.room:
            raise DeviceOutOfMemory("tried to allocate more than there is")
        return super().predict(images, attention, thresholds, masks)

    def check(self) -> None:
        if self.dead:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        super().check()


@pytest.fixture
def faulty(detector: Detector) -> FaultyDetector:
    return FaultyDetector(detector)


@pytest.fixture
def images(encoded: Callable[..., bytes]) -> list[tuple[str, bytes]]:
    return [("image", encoded(size=(90, 60), seed=seed)) for seed in range(8)]


def results(response: Any) -> list[Any]:
    assert response.status_code == 200, response.text
    return [row["detections"] for row in response.json()["results"]]


def test_a_batch_too_large_for_the_device_is_halved_until_it_fits(
    run_server: Any, faulty: FaultyDetector, images: Any
) -> None:
    with run_server(faulty, max_batch=8, max_delay_ms=2000) as server:
        faulty.sizes = []  # of warming up
        roomy = results(server.client.post("/detect/batch?threshold=0", files=images))
        assert faulty.sizes == [8]
        faulty.room, faulty.sizes = 2, []
        assert results(server.client.post("/detect/batch?threshold=0", files=images)) == roomy
        assert faulty.sizes == [8, 4, 2, 2, 4, 2, 2]
        assert server.metric("act_detr_out_of_memory_total") == 3
        faulty.sizes = []
        assert results(server.client.post("/detect/batch?threshold=0", files=images)) == roomy
        assert faulty.sizes == [2, 2, 2, 2]  # learnt
        assert server.metric("act_detr_out_of_memory_total") == 3
        for probe in ("/readyz", "/livez"):
            assert server.client.get(probe).status_code == 200


def test_only_an_image_too_large_for_the_device_fails(run_server: Any, faulty: FaultyDetector, images: Any) -> None:
    with run_server(faulty) as server:
        faulty.room = 0
        response = server.client.post("/detect", files=images[:1])
        assert (response.status_code, response.json()["type"]) == (507, "out-of-memory")
        faulty.room = 100
        assert server.client.post("/detect", files=images[:1]).status_code == 200
        assert server.client.get("/readyz").status_code == 200


def test_a_dead_device_fails_all_requests_and_both_probes(run_server: Any, faulty: FaultyDetector, images: Any) -> None:
    with run_server(faulty) as server, ThreadPoolExecutor(8) as pool:
        assert server.metric("act_detr_ready") == 1
        faulty.dead = True
        sent = [pool.submit(server.client.post, "/detect", files=[image]) for image in images]
        answers = [answer.result() for answer in sent]
        assert {(answer.status_code, answer.json()["type"]) for answer in answers} == {(503, "device-failed")}
        assert not any("CUDA" in answer.text for answer in answers)
        for probe in ("/readyz", "/livez"):
            response = server.client.get(probe)
            assert (response.status_code, response.json()["type"]) == (503, "device-failed")
        assert server.metric("act_detr_ready") == 0
        server.eventually(server.idle)


def test_probes_notice_a_device_that_dies_while_idle(run_server: Any, faulty: FaultyDetector) -> None:
    with run_server(faulty) as server:
        assert server.client.get("/livez").status_code == 200
        faulty.dead = True
        for probe in ("/readyz", "/livez"):  # an answer stays fresh for two seconds
            server.eventually(lambda probe=probe: server.client.get(probe).status_code == 503)
