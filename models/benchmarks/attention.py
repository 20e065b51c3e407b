"""Benchmark of exact attention and ACT, whole and by stage: `python -m models.benchmarks.attention --help`.

Queries are `clustered` (a given number of distinct ones, repeated, so that C/N is given and ACT is exact up to
rounding) or `random` (drawn from N(0, 1), so that C/N follows from L and r). `break_even` is, for a C/N, the number
of tokens from which ACT is faster at every measured size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.attention.act import ActAttention, capacity
from models.attention.exact import ExactAttention
from models.attention.prototype_attention import prototype_attention
from models.benchmarks.command_line import benchmark_parser, prepare_process
from models.clustering.lsh import bucket_keys, hash_buckets, hash_planes
from models.clustering.prototypes import assign_clusters, broadcast, mean_prototypes
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, interleaved

TOKENS = (100, 200, 300, 450, 660, 1050, 2100, 4200, 8400)
QUICK_TOKENS = (100, 300, 660, 1050, 2100)
RATIOS = (0.1, 0.25, 0.5, 1.0)
RANDOM_SETTINGS = (ActAttention(16, 8.0), ActAttention(32, 8.0), ActAttention(16, 2.0))
STAGES = ("hash", "assign", "prototypes", "attention", "broadcast")


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of the attended tensors: B images, H heads of width D."""

    images: int
    heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    def normal(self, tokens: int, generator: torch.Generator) -> Tensor:
        """Draw N(0, 1) [B, H, N, D] in the memory layout of the encoder's projections."""
        drawn = torch.randn(self.images, tokens, self.heads, self.head_dim, generator=generator)
        return drawn.to(self.device, self.dtype).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of exact attention, ACT and its stages on the same queries. `error` is ‖ACT - exact‖ / ‖exact‖."""

    queries: str
    tokens: int
    L: int
    r: float
    cluster_ratio: float
    error: float
    milliseconds: dict[str, Timing]

    @property
    def time_ratio(self) -> float:
        """ACT's time relative to exact attention's."""
        return self.milliseconds["act"].median / self.milliseconds["exact"].median


def clustered_queries(shape: Shape, tokens: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw queries [B, H, N, D] of which ratio * N are distinct in every head, in random order."""
    distinct = max(1, round(ratio * tokens))
    groups = shape.images * shape.heads
    order = torch.stack([torch.randperm(tokens, generator=generator) for _ in range(groups)]) % distinct
    index = order.view(shape.images, shape.heads, tokens, 1).expand(-1, -1, -1, shape.head_dim)
    queries = shape.normal(distinct, generator).gather(2, index.to(shape.device))
    return queries.transpose(1, 2).contiguous().transpose(1, 2)


def stages(attention: ActAttention, q: Tensor, k: Tensor, v: Tensor) -> dict[str, Callable[[], object]]:
    """Return ACT's stages as calls, each on the results of the stages before it."""
    planes = hash_planes(q.shape[-1], attention.L, attention.seed, q.device, q.dtype)

    def keys() -> Tensor:
        return bucket_keys(hash_buckets(q, planes, attention.r * q.shape[-1] ** 0.5))

    computed = keys()
    clusters = assign_clusters(computed)
    prototypes = mean_prototypes(q, clusters, capacity(clusters.counts, q))
    attended = prototype_attention(prototypes, k, v, clusters.counts)
    calls: tuple[Callable[[], object], ...] = (
        keys,
        lambda: assign_clusters(computed),
        lambda: mean_prototypes(q, clusters, capacity(clusters.counts, q)),
        lambda: prototype_attention(prototypes, k, v, clusters.counts),
        lambda: broadcast(attended, clusters),
    )
    return dict(zip(STAGES, calls, strict=True))


def measure(
    attention: ActAttention, queries: str, q: Tensor, generator: torch.Generator, shape: Shape, repeats: int
) -> Measurement:
    """Time exact attention, ACT and its stages on q and new random keys and values."""
    tokens = q.shape[-2]
    k, v = shape.normal(tokens, generator), shape.normal(tokens, generator)
    exact = ExactAttention()
    reference, attended = exact(q, k, v).values.double(), attention(q, k, v)
    error = (attended.values.double() - reference).norm() / reference.norm()
    assert attended.cluster_counts is not None  # noqa: S101 (ACT always counts)
    ratio = attended.cluster_counts.double().mean() / tokens
    whole: dict[str, Callable[[], object]] = {"exact": lambda: exact(q, k, v), "act": lambda: attention(q, k, v)}
    timings = interleaved(whole | stages(attention, q, k, v), shape.device, repeats)
    return Measurement(queries, tokens, attention.L, attention.r, float(ratio), float(error), timings)


def measurements(shape: Shape, tokens: tuple[int, ...], repeats: int) -> list[Measurement]:
    """Measure every number of tokens with clustered queries of each C/N, then with random queries."""
    generator = torch.Generator().manual_seed(0)
    sharp = ActAttention(32, 0.5)  # separates all but equal queries
    results = []
    for n in tokens:
        for ratio in RATIOS:
            q = clustered_queries(shape, n, ratio, generator)
            results.append(measure(sharp, "clustered", q, generator, shape, repeats))
        for attention in RANDOM_SETTINGS:
            results.append(measure(attention, "random", shape.normal(n, generator), generator, shape, repeats))
    return results


def break_even(results: list[Measurement], ratio: float) -> int | None:
    """The number of tokens from which ACT is faster at every measured size with clustered queries; None without one."""
    same = [one for one in results if one.queries == "clustered" and abs(one.cluster_ratio - ratio) < 0.02]
    tokens = None
    for one in sorted(same, key=lambda one: -one.tokens):
        if one.time_ratio >= 1:
            break
        tokens = one.tokens
    return tokens


def table(results: list[Measurement]) -> Table:
    """Medians in milliseconds, one row per measurement."""
    columns = ("queries", "N", "L", "r", "C/N", "exact", "ACT", "ACT/exact", *STAGES, "error")
    rows = Table(*columns, title="median milliseconds")
    for one in results:
        times = {name: f"{timing.median:.3g}" for name, timing in one.milliseconds.items()}
        setting = (one.queries, str(one.tokens), str(one.L), f"{one.r:g}", f"{one.cluster_ratio:.2f}")
        totals = (times["exact"], times["act"], f"{one.time_ratio:.2f}")
        rows.add_row(*setting, *totals, *(times[stage] for stage in STAGES), f"{one.error:.1e}")
    return rows


def report(results: list[Measurement], shape: Shape, repeats: int) -> dict[str, object]:
    """All measurements and their environment, ready for JSON."""
    return {
        **run_environment(shape.device),
        "images": shape.images,
        "heads": shape.heads,
        "head_dim": shape.head_dim,
        "dtype": str(shape.dtype).removeprefix("torch."),
        "repeats": repeats,
        "break_even": {str(ratio): break_even(results, ratio) for ratio in RATIOS},
        "measurements": [{**asdict(one), "time_ratio": one.time_ratio} for one in results],
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--tokens", type=int, nargs="+", help="numbers of encoder tokens N")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repeats")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    arguments = parse_arguments()
    prepare_process(arguments.threads)
    shape = Shape(
        arguments.images,
        arguments.heads,
        arguments.head_dim,
        getattr(torch, arguments.dtype),
        torch.device(arguments.device),
    )
    repeats = 5 if arguments.quick else arguments.repeats
    with torch.inference_mode():
        tokens = tuple(arguments.tokens or (QUICK_TOKENS if arguments.quick else TOKENS))
        results = measurements(shape, tokens, repeats)
    document = report(results, shape, repeats)
    write_results(arguments.output, document)
    console = Console(width=140)
    console.print(table(results))
    console.print(f"ACT is faster from N on, by C/N: {document['break_even']}")


if __name__ == "__main__":
    main()
