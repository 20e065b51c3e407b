"""Explanations of our own networks, against what the same run reports and computes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models import AttentionConfig, Detector, load_detector
from models.attention.factory import make_attention
from models.attention.strategy import Attended
from models.detector import DeviceOutOfMemory
from models.detr.detr import Detr
from models.explanation import explain, locate
from models.networks import own

SAMPLE = Path(__file__).parents[3] / "models" / "pretrained" / "sample-page.jpg"
CLUSTERING = [
    AttentionConfig.act(16, 2.0, metric="key"),
    AttentionConfig.act(),
    AttentionConfig.tangent(16),
    AttentionConfig.tangent(8, 2),
    AttentionConfig.kmeans(8),
]
each = pytest.mark.parametrize("attention", CLUSTERING, ids=str)


@pytest.fixture(scope="module")
def page() -> NDArray[np.uint8]:
    return np.asarray(Image.open(SAMPLE).convert("RGB"))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector(device="cpu", precision="fp32")


@pytest.fixture(params=["fp32", pytest.param("bf16", marks=pytest.mark.half)])
def tiny(tiny_detr: Detr, request: Any) -> Detector:
    return Detector(copy.deepcopy(tiny_detr), precision=request.param)


@pytest.fixture
def drawn() -> NDArray[np.uint8]:
    """Return an image of 5 x 8 tokens of the tiny model, 4 x 6 of which are whole."""
    generator = np.random.default_rng(0)
    return np.kron(generator.integers(0, 256, (9, 14, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor, Tensor, Attended]]:
    """What our own networks attended with and what came out, a layer after another."""
    calls: list[tuple[Tensor, Tensor, Tensor, Attended]] = []

    def make(config: AttentionConfig) -> Any:
        strategy = make_attention(config)

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Attended:
            attended = strategy(q, k, v)
            calls.append((q, k, v, attended))
            return attended

        attend.multiply_adds = strategy.multiply_adds  # type: ignore[attr-defined]
        return attend

    monkeypatch.setattr(own, "make_attention", make)
    return calls


@each
def test_clusters_are_those_that_detection_counts(
    attention: AttentionConfig, detector: Detector, page: NDArray[np.uint8]
) -> None:
    image = detector.preprocess(page)
    (prediction,) = detector.predict([image], attention)
    for layer in prediction.attention.clusters:
        counts = []
        for head in range(detector.config.heads):
            explained = explain(detector, image, attention, layer.layer, head)
            assert explained.clusters is not None
            assert explained.clusters.shape == explained.grid
            assert explained.clusters.size == prediction.attention.tokens
            counts.append(explained.cluster_count)
        assert (min(counts), max(counts), sum(counts) / len(counts)) == (layer.min, layer.max, layer.mean)


@each
@pytest.mark.parametrize("layer", [0, 1])
def test_clusters_and_weights_are_those_of_the_run_bit_for_bit(
    attention: AttentionConfig, layer: int, tiny: Detector, drawn: NDArray[np.uint8], recorded: list[Any]
) -> None:
    """What the run attended with gives the same clusters, and a value of each head that the weights make."""
    image = tiny.preprocess(drawn)
    tiny.predict([image], attention)
    q, k, _, attended = recorded[layer]
    strategy: Any = make_attention(attention)
    with torch.inference_mode():
        clusters = strategy.assign(q, k)
    assert torch.equal(clusters.counts, attended.cluster_counts)
    for head in range(tiny.config.heads):
        explained = explain(tiny, image, attention, layer, head, point=(50, 40))
        assert explained.clusters is not None
        assert explained.attention_map is not None
        rows, columns = explained.grid
        assert np.array_equal(explained.clusters.reshape(-1), clusters.ids[0, head].numpy())
        token = explained.attention_map.row * columns + explained.attention_map.column
        with torch.inference_mode():
            weights = strategy.weights(q, k, token)[0, head].numpy()
        assert np.array_equal(explained.attention_map.approximate, weights.reshape(rows, columns))


@pytest.mark.parametrize("attention", [AttentionConfig.exact(), *CLUSTERING], ids=str)
def test_attention_of_a_point_is_that_of_its_token(
    attention: AttentionConfig, detector: Detector, page: NDArray[np.uint8]
) -> None:
    image = detector.preprocess(page)
    height, width = page.shape[:2]
    explained = explain(detector, image, attention, 1, 2, point=(0.6 * width, 0.3 * height))
    attended = explained.attention_map
    rows, columns = explained.grid
    assert attended is not None
    assert (attended.row, attended.column) == (int(0.3 * rows), int(0.6 * columns))
    assert attended.exact.shape == (rows, columns)
    assert attended.exact.min() >= 0
    assert attended.exact.sum() == pytest.approx(1, abs=1e-5)
    inputs = detector.layer_inputs(image, attention, 1)
    q, k = inputs.q[0, 2, attended.row * columns + attended.column], inputs.k[0, 2]
    row = torch.softmax(k.double() @ q.double() / q.shape[-1] ** 0.5, 0).reshape(rows, columns)
    torch.testing.assert_close(torch.from_numpy(attended.exact).double(), row, atol=1e-6, rtol=1e-4)
    if attention.mode == "exact":
        assert (explained.clusters, attended.approximate, attended.difference) == (None, None, None)
        assert explained.cluster_count == 0
    else:
        assert attended.approximate is not None
        assert attended.approximate.sum() == pytest.approx(1, abs=1e-4)
        assert attended.difference == pytest.approx(np.abs(attended.exact - attended.approximate).sum() / 2)
        assert attended.most == max(attended.exact.max(), np.abs(attended.approximate).max())


@pytest.mark.parametrize("setting", ["merge:ratio=0.5", "merge:ratio=0.75,C=8"])
@pytest.mark.parametrize("layer", [0, 2])
def test_merged_tokens_are_the_clusters_and_share_what_they_get(
    setting: str, layer: int, detector: Detector, page: NDArray[np.uint8]
) -> None:
    attention, image = AttentionConfig.parse(setting), detector.preprocess(page)
    point = (0.6 * page.shape[1], 0.3 * page.shape[0])
    explained = explain(detector, image, attention, layer, 2, point)
    (prediction,) = detector.predict([image], attention)
    assert explained.cluster_count == prediction.attention.merged_tokens
    attended, clusters = explained.attention_map, explained.clusters
    assert attended is not None
    assert attended.approximate is not None
    assert clusters is not None
    assert attended.approximate.sum() == pytest.approx(1, abs=1e-4)
    for members in (clusters == one for one in np.unique(clusters)[::50]):
        assert np.ptp(attended.approximate[members]) == 0
        rows, columns = np.nonzero(members)
        assert max(np.ptp(rows), np.ptp(columns)) <= 1
    exact = explain(detector, image, AttentionConfig.exact(), layer, 2, point).attention_map
    assert exact is not None
    assert np.array_equal(attended.exact, exact.exact)


def test_merging_nothing_attends_exactly(tiny_detr: Detr, drawn: NDArray[np.uint8]) -> None:
    detector = Detector(tiny_detr)
    explained = explain(detector, detector.preprocess(drawn), AttentionConfig.merge(0), 1, 1, point=(33, 20))
    assert explained.attention_map is not None
    assert explained.attention_map.approximate is not None
    assert explained.cluster_count == explained.grid[0] * explained.grid[1]
    np.testing.assert_allclose(explained.attention_map.approximate, explained.attention_map.exact, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("attention", [AttentionConfig.act(16, 1e-7), AttentionConfig.tangent(4096, rounds=0)], ids=str)
def test_approximate_is_exact_where_every_token_is_a_cluster(
    attention: AttentionConfig, tiny_detr: Detr, drawn: NDArray[np.uint8]
) -> None:
    detector = Detector(tiny_detr)
    for layer in range(2):
        explained = explain(detector, detector.preprocess(drawn), attention, layer, 1, point=(33, 20))
        attended = explained.attention_map
        assert attended is not None
        assert attended.approximate is not None
        assert explained.cluster_count == explained.grid[0] * explained.grid[1]
        np.testing.assert_allclose(attended.approximate, attended.exact, rtol=1e-3, atol=1e-6)


def test_only_the_layers_before_run(tiny_detr: Detr, drawn: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    detector = Detector(tiny_detr)
    for name, module in detector.detr.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    explain(detector, detector.preprocess(drawn), AttentionConfig.tangent(4), 1, 0, point=(3, 3))
    assert "transformer.encoder.layers.0" in ran
    assert "transformer.encoder.layers.1" not in ran
    assert not any("decoder" in name or "embed" in name for name in ran)


def test_every_point_of_the_image_has_a_token_and_no_other_has(tiny_detr: Detr, drawn: NDArray[np.uint8]) -> None:
    detector = Detector(tiny_detr)
    image = detector.preprocess(drawn)
    height, width = drawn.shape[:2]
    (rows, columns), none = locate(detector, image)
    assert none is None
    assert rows * columns == detector.tokens(image)
    inside = [(0, 0), (width - 1, height - 1), (np.nextafter(width, 0), np.nextafter(height, 0))]
    assert [locate(detector, image, point)[1] for point in inside] == [(0, 0), *2 * [(rows - 1, columns - 1)]]
    cells = {locate(detector, image, (x, y))[1] for x in range(width) for y in range(height)}
    assert cells == {(row, column) for row in range(rows) for column in range(columns)}
    for point in ((-1, 0), (0, -0.1), (width, 0), (0, height), (float("nan"), 0)):
        with pytest.raises(ValueError, match=f"outside the image, which has {width} x {height} pixels"):
            explain(detector, image, AttentionConfig.exact(), point=point)


@pytest.mark.parametrize(("layer", "head"), [(2, 0), (0, 2), (-1, 0), (0, -1)])
def test_layers_and_heads_that_are_not_there_are_refused(
    layer: int, head: int, tiny_detr: Detr, drawn: NDArray[np.uint8]
) -> None:
    detector = Detector(tiny_detr)
    with pytest.raises(ValueError, match=f"layer {layer} and head {head} must be below 2 and 2"):
        explain(detector, detector.preprocess(drawn), AttentionConfig.exact(), layer, head)


def test_memory_that_runs_out_after_the_layer_is_the_devices(
    tiny: Detector, drawn: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("models.explanation.explanation.exact_weights", fail)
    with pytest.raises(DeviceOutOfMemory):
        explain(tiny, tiny.preprocess(drawn), AttentionConfig.exact(), point=(1, 1))
