import numpy as np
import pytest
import torch

from models.clustering.collision import collision_probability
from models.clustering.lsh import HashPlanes, bucket_keys, hash_buckets, hash_planes

CPU = torch.device("cpu")


@pytest.fixture
def case(golden):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(golden / "act_golden.npz").items()}


def test_buckets_are_the_golden_ones(case):
    r = float(case["r"])
    planes = HashPlanes(case["planes"].double(), case["offsets"].double() / r)
    assert torch.equal(hash_buckets(case["q"].double(), planes, r).long(), case["bucket"])


def test_planes_depend_only_on_the_arguments_and_nest():
    few, many = (hash_planes(16, rounds, 3, CPU, torch.float32) for rounds in (5, 40))
    assert torch.equal(few.normals, many.normals[:5])
    assert torch.equal(few.offsets, many.offsets[:5])
    assert not torch.equal(few.normals, hash_planes(16, 5, 4, CPU, torch.float32).normals)
    assert (many.offsets >= 0).all()
    assert (many.offsets < 1).all()


@pytest.mark.parametrize(("distance", "r"), [(0.1, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 8.0)])
def test_neighbours_share_buckets_as_often_as_the_theory_says(distance, r):
    """Also shows that offsets are U(0, r): with U(0, 1) the last case would come out otherwise."""
    trials, dim = 4000, 16
    generator = torch.Generator().manual_seed(0)
    start = 10 * torch.randn(trials, dim, generator=generator, dtype=torch.float64)
    step = torch.randn(trials, dim, generator=generator, dtype=torch.float64)
    pairs = torch.stack((start, start + distance * step / step.norm(dim=-1, keepdim=True)), 1)
    buckets = torch.cat(
        [hash_buckets(pairs, hash_planes(dim, 64, seed, CPU, torch.float64), r) for seed in range(8)], -1
    )
    shared = (buckets[:, 0] == buckets[:, 1]).double().mean().item()
    assert shared == pytest.approx(collision_probability(distance, 1, r), abs=0.03)


def test_keys_tell_buckets_apart():
    generator = torch.Generator().manual_seed(0)
    buckets = torch.randint(-4, 4, (200_000, 8), generator=generator)
    distinct = len(torch.unique(buckets, dim=0))
    assert len(torch.unique(bucket_keys(buckets))) == distinct
    assert distinct < len(buckets)  # so that equal ones were among them


def test_keys_of_neighbouring_buckets_differ_in_every_round():
    buckets = torch.cat((torch.zeros(1, 64), torch.eye(64), -torch.eye(64), 2 * torch.eye(64)))
    assert len(torch.unique(bucket_keys(buckets))) == len(buckets)
