"""Attention of unequal images in one call. Its kernel runs on a GPU only; its plain twin stands in for it elsewhere."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen as torch_varlen
from torch.nn.functional import scaled_dot_product_attention

from models.attention import multihead, varlen
from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.multihead import MultiheadAttention
from models.attention.varlen import ONE_SPLIT, packed_attention, packed_attention_plain, takes_unequal
from models.config import DetrConfig
from models.detr.decoder import DecoderLayer
from models.images import PackedTokens

COUNTS = [(37, 5, 61), (13,), (1,), (1, 9, 1), (8, 8, 8), (3, 130, 3, 2)]
QUERIES = 7


def packed(counts: tuple[int, ...], dim: int, dtype: torch.dtype = torch.float64, device: str = "cpu") -> PackedTokens:
    generator = torch.Generator().manual_seed(0)
    values, positions = torch.randn(2, sum(counts), dim, generator=generator, dtype=torch.float64)
    return PackedTokens(values.to(device, dtype), positions.to(device, dtype), counts)


def draw(rows: int, heads: int = 3, dim: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, heads, dim, generator=generator, dtype=torch.float64)


def one_by_one(q: Tensor, k: Tensor, v: Tensor, queries: tuple[int, ...], keys: tuple[int, ...]) -> Tensor:
    images = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    attended = [scaled_dot_product_attention(*(x.transpose(0, 1) for x in image)).transpose(0, 1) for image in images]
    return torch.cat(attended)


@pytest.fixture
def kernel_twin(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Puts the twin where the kernel is called, with its signature; lists the longest image of each call."""
    signature, calls = inspect.signature(torch_varlen.varlen_attn), []

    def twin(*args: Any, **options: Any) -> Tensor:
        call = signature.bind(*args, **options).arguments
        q, k, v = (call[name] for name in ("query", "key", "value"))
        counts = {name: tuple(call[name].diff().tolist()) for name in ("cu_seq_q", "cu_seq_k")}
        assert [call[name].dtype for name in counts] == [torch.int32, torch.int32]
        assert [max(one) for one in counts.values()] == [call["max_q"], call["max_k"]]
        calls.append((call["max_q"], call["max_k"]))
        return packed_attention_plain(q, k, v, PackedTokens(k, k, counts["cu_seq_k"]), counts["cu_seq_q"])

    monkeypatch.setattr(torch_varlen, "varlen_attn", twin)
    monkeypatch.setattr(multihead, "takes_unequal", lambda q, head_dim, lengths: len(set(lengths)) > 1)
    return calls


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_twin_is_exact_attention_image_by_image(counts: tuple[int, ...]) -> None:
    q, k, v = (draw(sum(counts), seed=seed) for seed in range(3))
    expected = one_by_one(q, k, v, counts, counts)
    torch.testing.assert_close(packed_attention_plain(q, k, v, PackedTokens(k, k, counts), counts), expected)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_the_twin_takes_other_queries_than_keys(counts: tuple[int, ...]) -> None:
    queries = tuple(range(2, 2 + len(counts)))
    q, k, v = draw(sum(queries), seed=3), draw(sum(counts), seed=1), draw(sum(counts), seed=2)
    expected = one_by_one(q, k, v, queries, counts)
    torch.testing.assert_close(packed_attention_plain(q, k, v, PackedTokens(k, k, counts), queries), expected)


@torch.inference_mode()
@pytest.mark.parametrize("counts", [(37, 5, 61), (1, 9, 1), (6, 6, 2)], ids=str)
def test_one_call_attends_as_runs_do(
    counts: tuple[int, ...], kernel_twin: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    attention, tokens = MultiheadAttention(32, 4).double(), packed(counts, 32)
    at_once, cluster_counts = attention.attend_packed(tokens, ExactAttention())
    assert (cluster_counts, kernel_twin) == ([None], [(max(counts), max(counts))])
    monkeypatch.setattr(multihead, "takes_unequal", takes_unequal)
    torch.testing.assert_close(at_once, attention.attend_packed(tokens, ExactAttention())[0])
    assert len(kernel_twin) == 1


@torch.inference_mode()
def test_one_call_serves_the_queries_of_all_images(
    tiny_config: DetrConfig, kernel_twin: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, memory = DecoderLayer(tiny_config).double(), packed((37, 5, 61), tiny_config.hidden_dim)
    x = torch.randn(3, QUERIES, tiny_config.hidden_dim, dtype=torch.float64)
    at_once = layer.attend_memory(x, x[0], memory)
    assert kernel_twin == [(QUERIES, 61)]
    monkeypatch.setattr(multihead, "takes_unequal", takes_unequal)
    torch.testing.assert_close(at_once, layer.attend_memory(x, x[0], memory))
    assert len(kernel_twin) == 1


@torch.inference_mode()
def test_equal_counts_and_clustered_attention_stay_dense(kernel_twin: list[tuple[int, int]]) -> None:
    attention = MultiheadAttention(32, 4).double()
    attention.attend_packed(packed((6, 6, 6), 32), ExactAttention())
    _, cluster_counts = attention.attend_packed(packed((6, 6, 3), 32), ActAttention(8, 2.0, 0))
    assert [None if counts is None else counts.shape for counts in cluster_counts] == [(2, 4), (1, 4)]
    assert kernel_twin == []


def test_only_half_precision_on_a_gpu_with_the_kernel_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(varlen, "_has_kernel", lambda device: True)
    with FakeTensorMode():
        q = torch.empty(12, 32, dtype=torch.bfloat16, device="cuda")
        assert takes_unequal(q, 32, (5, 7))
        assert takes_unequal(q.half(), 32, (5, 7))
        assert not takes_unequal(q, 32, (6, 6))
        assert not takes_unequal(q, 32, (12,))
        assert not takes_unequal(q.float(), 32, (5, 7))
        assert not takes_unequal(q, 12, (5, 7))
        assert not takes_unequal(q, 264, (5, 7))
        assert not takes_unequal(torch.empty(12, 32, dtype=torch.bfloat16), 32, (5, 7))
        assert not takes_unequal(q.clone().requires_grad_(), 32, (5, 7))
        with torch.no_grad():
            assert takes_unequal(q.clone().requires_grad_(), 32, (5, 7))
        monkeypatch.setattr(varlen, "_has_kernel", lambda device: False)
        assert not takes_unequal(q, 32, (5, 7))


def test_the_kernel_takes_the_options_that_this_pytorch_gets() -> None:
    q, end = draw(4), torch.tensor([0, 4], dtype=torch.int32)
    inspect.signature(torch_varlen.varlen_attn).bind(q, q, q, end, end, 4, 4, **ONE_SPLIT)


gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


class TestKernel:
    """The kernel beside its twin, on a GPU from Ampere on."""

    pytestmark = gpu

    @pytest.fixture(autouse=True)
    def _kernel(self) -> None:
        if not varlen._has_kernel(torch.device("cuda", torch.cuda.current_device())):
            pytest.skip("no kernel for this GPU")

    @torch.inference_mode()
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("dim", [8, 32, 64])
    @pytest.mark.parametrize("counts", [*COUNTS, (850, 1050, 625, 950)], ids=str)
    @pytest.mark.parametrize("cross", [False, True])
    def test_it_errs_at_most_twice_as_much_as_its_twin(
        self, counts: tuple[int, ...], dim: int, dtype: torch.dtype, cross: bool
    ) -> None:
        queries = (QUERIES,) * len(counts) if cross else counts
        q, k, v = (
            draw(rows, 8, dim, seed).to("cuda", dtype)
            for seed, rows in enumerate((sum(queries), sum(counts), sum(counts)))
        )
        q, k = (torch.cat((x, x), -1)[..., :dim] for x in (q, k))  # strided, as a joint projection leaves them
        tokens = PackedTokens(v, v, counts)
        expected = packed_attention_plain(q.double(), k.double(), v.double(), tokens, queries)
        twin = (packed_attention_plain(q, k, v, tokens, queries) - expected).abs().max()
        error = (packed_attention(q, k, v, tokens, queries) - expected).abs().max()
        assert error <= 2 * twin + torch.finfo(dtype).eps

    @torch.inference_mode()
    def test_it_attends_as_runs_do_and_waits_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        attention = MultiheadAttention(256, 8).to("cuda", torch.bfloat16)
        attention.attend_packed(packed((37, 5, 61), 256, torch.bfloat16, "cuda"), ExactAttention())
        tokens = packed((37, 5, 61), 256, torch.bfloat16, "cuda")
        torch.cuda.set_sync_debug_mode("error")
        try:
            at_once, _ = attention.attend_packed(tokens, ExactAttention())
        finally:
            torch.cuda.set_sync_debug_mode("default")
        monkeypatch.setattr(multihead, "takes_unequal", lambda q, head_dim, lengths: False)
        by_run, _ = attention.attend_packed(tokens, ExactAttention())
        torch.testing.assert_close(at_once, by_run, rtol=0, atol=float(by_run.abs().max()) * 2**-6)

    @torch.inference_mode()
    @pytest.mark.skipif(not ONE_SPLIT, reason="this PyTorch splits as it likes")
    def test_an_image_gets_the_same_among_others(self) -> None:
        counts = (850, 300, 1050)
        q, k, v = (draw(sum(counts), 8, 32, seed).to("cuda", torch.bfloat16) for seed in range(3))
        together = packed_attention(q, k, v, PackedTokens(v, v, counts), counts)[:850]
        q, k, v = (x[:850] for x in (q, k, v))
        assert torch.equal(together, packed_attention(q, k, v, PackedTokens(v, v, (850,)), (850,)))
