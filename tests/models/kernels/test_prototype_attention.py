"""The Triton kernel against its plain twin: in Triton's interpreter on any machine, and on a GPU where there is one.

The interpreter must be chosen before Triton is imported, so it runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
from models.attention.act import ActAttention
from models.attention.prototype_attention import attend_all_rows, attend_by_head, prototype_attention

SIZES = (1, 15, 16, 17, 97)
WIDTHS = (16, 32, 64)
ROOT = Path(models.__file__).parents[1]

INTERPRET = """
import sys, torch
import models
assert "models.kernels.prototype_attention" not in sys.modules, "Triton is imported too early"
from models.kernels.prototype_attention import prototype_attention
torch.set_num_threads(1)
cases = torch.load(sys.argv[1])
torch.save([prototype_attention(*case) for case in cases], sys.argv[2])
"""

SHARED_MEMORY = 99 << 10
"""Bytes that one program may have on every GPU from Ampere on: capabilities 8.6 and 8.9 have least (CUDA C++ guide)."""

Rounding = Callable[[Tensor, Tensor, Tensor], Tensor]

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@dataclass(frozen=True)
class Case:
    """One shape; `seed` also draws the counts, 0 and C among them."""

    capacity: int
    tokens: int
    head_dim: int
    dtype: torch.dtype
    seed: int

    def __str__(self) -> str:
        return f"C{self.capacity}-N{self.tokens}-D{self.head_dim}-{str(self.dtype)[6:]}"

    def inputs(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Prototypes, k, v of one image and four heads, laid out as projections leave them; counts."""
        generator = torch.Generator().manual_seed(self.seed)

        def heads_side_by_side(rows: int) -> Tensor:
            drawn = torch.randn(1, rows, 4, self.head_dim, generator=generator)
            return drawn.to(device, self.dtype).transpose(1, 2)

        drawn = torch.randint(0, self.capacity + 1, (2,), generator=generator).tolist()
        counts = torch.tensor([[0, *drawn, self.capacity]], device=device)
        prototypes, k, v = (heads_side_by_side(n) for n in (self.capacity, self.tokens, self.tokens))
        return prototypes, k, v, counts


SHAPES = [(c, n, WIDTHS[i % 3]) for i, (c, n) in enumerate(product(SIZES, SIZES))]
SHAPES += [(17, 33, 8), (33, 17, 24), (15, 97, 128)]
CASES = [Case(*shape, torch.float32, seed) for seed, shape in enumerate(SHAPES)]
CASES += [Case(*shape, torch.float16, seed) for seed, shape in enumerate(SHAPES[1::3])]
HALF = pytest.param(torch.float16, marks=pytest.mark.half)
SOME_CASES = [
    pytest.param(case, marks=pytest.mark.half) if case.dtype == torch.float16 else case
    for case in CASES[:: len(SIZES) + 1]
]


def assert_only_rounds(actual: Tensor, case: Case, attention_rounding: Rounding, device: str = "cpu") -> None:
    """Every element within the rounding of its sums, whatever their order, of float64; zeros past every count."""
    prototypes, k, v, counts = case.inputs(device)
    exact = attend_by_head(prototypes.double(), k.double(), v.double(), counts)
    assert actual.shape == exact.shape
    assert actual.dtype == case.dtype
    spare = (torch.arange(case.capacity, device=device) >= counts[..., None])[..., None]
    bound = attention_rounding(prototypes, k, v).masked_fill(spare, 0)
    assert ((actual.double() - exact).abs() <= bound).all()


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, Tensor]:
    """The kernel's output for every case in Triton's interpreter."""
    pytest.importorskip("triton")
    folder = tmp_path_factory.mktemp("interpreted")
    torch.save([case.inputs() for case in CASES], folder / "inputs")
    command = [sys.executable, "-c", INTERPRET, str(folder / "inputs"), str(folder / "outputs")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, timeout=240, capture_output=True, text=True)
    if "only 0-dimensional arrays can be converted" in run.stderr:
        pytest.skip("the interpreter of Triton 3.6 fails on every loop under NumPy 2.4 and later")
    assert run.returncode == 0, run.stderr
    return dict(zip(CASES, torch.load(folder / "outputs"), strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_interpreted_kernel_equals_twin(
    case: Case, interpreted: dict[Case, Tensor], attention_rounding: Rounding
) -> None:
    assert_only_rounds(interpreted[case], case, attention_rounding)


@pytest.mark.parametrize("case", SOME_CASES, ids=str)
def test_the_twin_only_rounds(case: Case, attention_rounding: Rounding) -> None:
    assert_only_rounds(attend_by_head(*case.inputs()), case, attention_rounding)


@pytest.mark.parametrize("dtype", [torch.float32, HALF], ids=str)
def test_the_bound_catches_mistakes(dtype: torch.dtype, attention_rounding: Rounding) -> None:
    """The last key left out; queries of as few bits as TF32 has, or bfloat16 for float16."""
    case = Case(97, 97, 32, dtype, 0)
    prototypes, k, v, counts = case.inputs()
    coarse = coarser(prototypes)
    for mistaken in ((prototypes, k[:, :, :-1], v[:, :, :-1], counts), (coarse, k, v, counts)):
        with pytest.raises(AssertionError):
            assert_only_rounds(attend_by_head(*mistaken), case, attention_rounding)


def coarser(x: Tensor) -> Tensor:
    """Rounded to ten bits after the leading one where there are more; else to seven."""
    if x.dtype == torch.float16:
        return x.bfloat16().to(x.dtype)
    mantissa, exponent = torch.frexp(x)
    return torch.ldexp((mantissa * 2**11).round() / 2**11, exponent)


@pytest.mark.parametrize("case", SOME_CASES, ids=str)
def test_all_rows_equal_twin(case: Case, attention_rounding: Rounding) -> None:
    assert_only_rounds(attend_all_rows(*case.inputs()), case, attention_rounding)


def test_gradients_of_all_rows_equal_those_of_the_twin() -> None:
    def gradients(attend) -> tuple[Tensor, ...]:
        *inputs, counts = Case(17, 33, 16, torch.float64, 0).inputs()
        leaves = [x.detach().requires_grad_() for x in inputs]
        return torch.autograd.grad(attend(*leaves, counts).square().sum(), leaves)

    for twin, other in zip(gradients(attend_by_head), gradients(attend_all_rows), strict=True):
        torch.testing.assert_close(other, twin)


def test_a_cpu_needs_no_triton(monkeypatch: pytest.MonkeyPatch, attention_rounding: Rounding) -> None:
    for module in ("triton", "models.kernels.prototype_attention"):
        monkeypatch.setitem(sys.modules, module, None)  # makes every import of it fail
    case = Case(17, 33, 16, torch.float32, 0)
    assert_only_rounds(prototype_attention(*case.inputs()), case, attention_rounding)


@pytest.mark.parametrize("head_dim", [24, 32, 64, 128])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("capability", [80, 90, 100])
def test_builds_for_ampere_hopper_and_blackwell_without_tf32(
    capability: int, dtype: str, head_dim: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The interpreter accepts programs that the compiler does not; the compiler needs no GPU."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    from models.kernels.prototype_attention import attend_prototypes as kernel
    from models.kernels.prototype_attention import padded_width, tiling

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tiles = tiling({"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype], head_dim)
    blocks = {"BLOCK_D": padded_width(head_dim), "BLOCK_C": tiles.block_c, "BLOCK_N": tiles.block_n}
    constants = {"D": head_dim, **blocks}
    types = dict.fromkeys(kernel.arg_names, "i32") | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(("prototypes", "k", "v", "out"), f"*{dtype}") | {"counts": "*i64", "scale": "fp32"}
    source = triton.compiler.ASTSource(kernel, types, constants)
    options = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert built.asm["cubin"]
    assert f".target sm_{capability}" in built.asm["ptx"]
    assert built.metadata.shared <= SHARED_MEMORY
    assert "tf32" not in built.asm["ptx"]


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_gpu_kernel_equals_twin(dtype: torch.dtype, attention_rounding: Rounding) -> None:
    from models.kernels.prototype_attention import prototype_attention as kernel

    shapes = [*product(SIZES, SIZES, WIDTHS), *SHAPES[-3:], (1050, 4200, 32)]
    for case in (Case(*shape, dtype, seed) for seed, shape in enumerate(shapes)):
        assert_only_rounds(kernel(*case.inputs("cuda")), case, attention_rounding, "cuda")


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_gpu_results_are_the_same_every_time(dtype: torch.dtype) -> None:
    inputs = Case(300, 660, 32, dtype, 0).inputs("cuda")
    first = prototype_attention(*inputs)
    assert all(torch.equal(prototype_attention(*inputs), first) for _ in range(5))


@gpu
@pytest.mark.gpu
def test_gpu_never_waits_for_counts() -> None:
    attention = ActAttention(16, 4.0)
    q, k, v = torch.randn(3, 2, 4, 660, 32, device="cuda")
    expected = attention(q, k, v).values  # builds the kernel and moves the hash planes over
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = attention(q, k, v).values
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(again, expected)


@gpu
@pytest.mark.gpu
def test_gpu_gradients_equal_those_of_the_twin() -> None:
    *inputs, counts = Case(17, 33, 32, torch.float32, 0).inputs("cuda")
    leaves = [x.detach().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    actual = torch.autograd.grad(prototype_attention(*leaves, counts).square().sum(), leaves)
    expected = torch.autograd.grad(attend_by_head(*exact, counts).square().sum(), exact)
    for gradient, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(gradient.double(), reference, rtol=1e-4, atol=1e-5)
