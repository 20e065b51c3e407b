import numpy as np
import pytest
import torch

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


def test_keys_tell_buckets_apart():
    generator = torch.Generator().manual_seed(0)
    buckets = torch.randint(-4, 4, (200_000, 8), generator=generator)
    distinct = len(torch.unique(buckets, dim=0))
    assert len(torch.unique(bucket_keys(buckets))) == distinct
    assert distinct < len(buckets)  # so that equal ones were among them


def test_keys_of_neighbouring_buckets_differ_in_every_round():
    buckets = torch.cat((torch.zeros(1, 64), torch.eye(64), -torch.eye(64), 2 * torch.eye(64)))
    assert len(torch.unique(bucket_keys(buckets))) == len(buckets)
