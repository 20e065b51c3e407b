"""The whole model on fake CUDA tensors: no GPU is needed to show that devices agree and that nothing waits for results.

A fake tensor has a shape, a dtype and a device, but no numbers. An operation on tensors of two devices fails, and so
does one that needs a number on the host.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from models.attention import exact, multihead, prototype_attention, varlen
from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.strategy import Attended, ClusteringStrategy
from models.attention_config import AttentionConfig
from models.config import BoxRefinementConfig, DetrConfig
from models.detector import Detector
from models.detr.canvas import token_grid
from models.detr.detr import Detr, DetrOutput
from models.images import PackedTokens
from models.named_models import named_config
from models.precision import Precision
from models.preprocess import PreparedImage
from models.resizing import Resizing

Size = tuple[int, int]

ONE, SEVERAL = [(64, 96)], [(64, 96), (64, 96), (80, 64), (33, 120), (64, 96), (80, 64)]
EQUAL = [(64, 96), (96, 64), (64, 96)]
ATTENTIONS = [
    AttentionConfig.exact(),
    *(AttentionConfig.act(8, 2.0, metric=metric) for metric in ("query", "key")),
    *(AttentionConfig.kmeans(4, metric=metric) for metric in ("query", "key")),
    *(AttentionConfig.tangent(4, points, metric=metric) for points in (None, 2, 0) for metric in ("query", "key")),
    *(AttentionConfig.merge(0.5, C) for C in (0, 3)),
]
aten = torch.ops.aten
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)


class Waits(RuntimeError):
    """The host would wait for the GPU here."""


class NoWaiting(TorchDispatchMode):
    """Refuses what fake tensors permit although it waits: copies to the host, copies from it that block, and masks."""

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if call.overloadpacket is aten.to:  # in inference mode it comes here whole
            with self:
                return call.decompose(*args, **kwargs)
        if call is aten._to_copy.default:
            check_copy(args[0].device, torch.device(kwargs.get("device") or args[0].device), kwargs)
        elif call is aten.copy_.default:
            check_copy(args[1].device, args[0].device, {"non_blocking": len(args) > 2 and args[2], **kwargs})
        elif call in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1]):
            raise Waits("a mask as an index: the number of its rows is read")
        return call(*args, **kwargs)


@dataclass
class PackedCalls:
    """Calls of the packed kernel, in order: queries, keys, and the longest image of each."""

    seen: list[tuple[Size, Size, int, int]] = field(default_factory=list)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: PackedTokens, queries: tuple[int, ...]) -> Tensor:
        for x in (q, k, v, keys.offsets(queries), keys.offsets(keys.lengths)):
            assert x.device.type == "cuda"
        self.seen.append((tuple(q.shape[:2]), tuple(k.shape[:2]), max(queries), max(keys.lengths)))
        attended = varlen.packed_attention(q, k, v, keys, queries)
        assert (attended.shape, attended.dtype, attended.device) == (q.shape, q.dtype, q.device)
        return attended


@pytest.fixture
def packed_calls(monkeypatch: pytest.MonkeyPatch) -> PackedCalls:
    calls = PackedCalls()
    for module in (exact, multihead):
        monkeypatch.setattr(module, "packed_attention", calls)
    return calls


@pytest.fixture
def refining_config(tiny_config: DetrConfig) -> DetrConfig:
    return replace(tiny_config, box_refinement=BoxRefinementConfig())


def check_copy(source: torch.device, target: torch.device, options: dict[str, Any]) -> None:
    if source.type != target.type and (target.type == "cpu" or not options.get("non_blocking")):
        raise Waits(f"a copy from {source} to {target}")


@pytest.fixture(autouse=True)
def _fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Answers what only a GPU can, whether it runs Triton and packed attention; forgets tensors kept for a device."""
    monkeypatch.setattr(prototype_attention, "_runs_triton", lambda device: True)
    monkeypatch.setattr(varlen, "_has_kernel", lambda device: True)
    forget_cached()
    yield
    forget_cached()


def forget_cached() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("models."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def on_fake_gpu(detector: Detector) -> None:
    """Bring a detector of tensors without memory over: `Module.to` cannot."""
    for module in detector.detr.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module.register_parameter(name, torch.nn.Parameter(like(parameter), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, like(buffer))
    detector.device = "cuda"


def like(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")


def outputs(config: DetrConfig, attention: AttentionConfig, sizes: Sequence[Size], precision: Precision) -> DetrOutput:
    """The device's part of `Detector.predict`: once to fill what is cached by size and device, then without a wait."""
    with torch.device("meta"):
        detector = Detector(Detr(config), "meta", precision)
    for size in sizes:
        token_grid(*size, config)  # counted on the CPU once a size: no tensor there is fake
    with FakeTensorMode():
        on_fake_gpu(detector)
        canvas = config.resizing.canvas if config.resizing else None
        images = [PreparedImage(torch.zeros(3, *size, dtype=torch.uint8), *size, canvas) for size in sizes]
        thresholds = [0.5] * len(images)
        detector.outputs(images, attention, thresholds)
        with NoWaiting():
            return detector.outputs(images, attention, thresholds)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("sizes", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("attention", ATTENTIONS, ids=str)
def test_a_forward_pass_stays_on_the_gpu(
    refining_config: DetrConfig, attention: AttentionConfig, sizes: list[Size], precision: Precision
) -> None:
    output = outputs(refining_config, attention, sizes, precision)
    for tensor in (output.logits, output.boxes_cxcywh, output.refinable, output.encoded.tokens.values):
        assert tensor is not None
        assert tensor.device.type == "cuda"
    assert output.logits.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert output.boxes_cxcywh.dtype == torch.float32
    assert output.boxes_cxcywh.shape == (len(sizes), refining_config.queries, 4)
    counts = output.encoded.cluster_counts
    assert (counts is None) == (attention.in_layers.mode == "exact")
    assert (output.encoded.merged_lengths is None) == (attention.mode != "merge")
    assert counts is None or counts.shape == (len(sizes), refining_config.encoder_layers, refining_config.heads)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("refining", [False, True])
def test_a_forward_pass_on_a_canvas_stays_on_the_gpu(
    tiny_config: DetrConfig, refining_config: DetrConfig, refining: bool, precision: Precision
) -> None:
    config = replace(refining_config if refining else tiny_config, resizing=Resizing(canvas=(96, 128)))
    output = outputs(config, AttentionConfig.tangent(4), SEVERAL, precision)
    assert output.boxes_cxcywh.device.type == "cuda"
    assert (output.refinable is None) == (not refining)


@pytest.mark.parametrize("name", ["detr-r50", "detr-r101-dc5", "pages-small", "pages-large"])
def test_a_forward_pass_of_a_published_model_stays_on_the_gpu(name: str) -> None:
    output = outputs(named_config(name), AttentionConfig.tangent(), [(800, 1066)], "bf16")
    assert output.boxes_cxcywh.device.type == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("attention", [one for one in ATTENTIONS if one.mode not in ("exact", "merge")], ids=str)
def test_an_explanation_stays_on_the_gpu_and_waits_for_nothing(
    refining_config: DetrConfig, attention: AttentionConfig, precision: Precision
) -> None:
    with torch.device("meta"):
        detector = Detector(Detr(refining_config), "meta", precision)
    token_grid(64, 96, refining_config)
    strategy = make_attention(attention)
    assert isinstance(strategy, ClusteringStrategy)
    with FakeTensorMode(), torch.inference_mode():
        on_fake_gpu(detector)
        image = PreparedImage(torch.zeros(3, 64, 96, dtype=torch.uint8), 64, 96)
        detector.outputs([image], attention)
        detector.layer_inputs(image, attention, 1)
        with NoWaiting():
            inputs = detector.network.layer_inputs(detector._batch([image]), attention, 1)
            ids = strategy.assign(inputs.q, inputs.k).ids
            weights = strategy.weights(inputs.q, inputs.k, 3)
    assert (ids.shape, weights.shape) == (inputs.q.shape[:3],) * 2
    assert ids.device.type == weights.device.type == "cuda"


@pytest.mark.parametrize("attention", [AttentionConfig.exact(), AttentionConfig.tangent(4)], ids=str)
def test_unequal_images_are_attended_in_one_call(
    refining_config: DetrConfig, attention: AttentionConfig, packed_calls: PackedCalls
) -> None:
    outputs(refining_config, attention, SEVERAL, "bf16")
    tokens = [math.prod(token_grid(*size, refining_config)) for size in SEVERAL]
    heads, queries = refining_config.heads, refining_config.queries
    rows = (sum(tokens), heads)
    encoder = [(rows, rows, max(tokens), max(tokens))] * refining_config.encoder_layers
    decoder = [((len(SEVERAL) * queries, heads), rows, queries, max(tokens))] * refining_config.decoder_layers
    clustered = attention.mode != "exact"  # stays one dense run after another
    assert packed_calls.seen == 2 * (decoder if clustered else encoder + decoder)  # `outputs` runs twice


@pytest.mark.parametrize(("sizes", "precision"), [(ONE, "bf16"), (EQUAL, "bf16"), (SEVERAL, "fp32")])
def test_equal_images_and_float32_are_attended_densely(
    refining_config: DetrConfig, sizes: list[Size], precision: Precision, packed_calls: PackedCalls
) -> None:
    outputs(refining_config, AttentionConfig.exact(), sizes, precision)
    assert packed_calls.seen == []


def test_unequal_images_are_attended_one_after_another_by_an_old_gpu(
    refining_config: DetrConfig, packed_calls: PackedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "_has_kernel", lambda device: False)
    outputs(refining_config, AttentionConfig.exact(), SEVERAL, "bf16")
    assert packed_calls.seen == []


WAITING: list[tuple[Callable[[Tensor], object], type[Exception], str]] = [
    (lambda x: x[0, 0, 0, 0].item(), DataDependentOutputException, "_local_scalar_dense"),
    (lambda x: x[0, 0, 0].tolist(), DataDependentOutputException, "_local_scalar_dense"),
    (lambda x: (x > 0).nonzero(), DynamicOutputShapeException, "nonzero"),
    (lambda x: x.repeat_interleave((x[0, 0, :, 0] > 0).long(), 2), DynamicOutputShapeException, "repeat_interleave"),
    (lambda x: x.cpu(), Waits, "a copy from cuda:0 to cpu"),
    (lambda x: x.to("cpu", non_blocking=True), Waits, "a copy from cuda:0 to cpu"),
    (lambda x: x.new_tensor([1.0, 2.0]), Waits, "a copy from cpu to cuda"),
    (lambda x: x[x[..., 0] > 0], DynamicOutputShapeException, "nonzero"),
    (lambda x: x.clone().index_put_((x > 0,), x.new_zeros(())), Waits, "a mask"),
    (lambda x: x + torch.ones(x.shape[-1]), RuntimeError, "same device"),
]


@pytest.mark.parametrize(("read", "error", "message"), WAITING)
def test_an_attention_that_waits_is_caught(
    refining_config: DetrConfig,
    read: Callable[[Tensor], object],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attend = ExactAttention.__call__

    def waiting(self: ExactAttention, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        read(q)
        return attend(self, q, k, v)

    monkeypatch.setattr(ExactAttention, "__call__", waiting)
    with pytest.raises(error, match=message):
        outputs(refining_config, AttentionConfig.exact(), ONE, "fp32")
