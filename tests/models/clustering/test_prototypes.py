import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention.prototype_attention import prototype_attention
from models.clustering.lsh import HashPlanes, bucket_keys, hash_buckets
from models.clustering.prototypes import Clusters, assign_clusters, broadcast, mean_prototypes


@pytest.fixture
def case(golden):
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(golden / "act_golden.npz").items()}


def by_first_appearance(ids):
    """Renumber the clusters of one row in the order in which they come; -1 stays."""
    numbers = {}
    return [-1 if cluster < 0 else numbers.setdefault(cluster, len(numbers)) for cluster in ids]


def test_the_golden_case_from_queries_to_output(case):
    r, valid = float(case["r"]), case["valid"]
    q, k, v = (case[name].double() for name in "qkv")
    planes = HashPlanes(case["planes"].double(), case["offsets"].double() / r)
    keys = bucket_keys(hash_buckets(q, planes, r))
    clusters = assign_clusters(keys, valid[:, None].expand(keys.shape))
    assert torch.equal(clusters.counts, case["cluster_counts"])
    for image in range(2):
        for head in range(3):
            expected = case["clusters"][image, head].tolist()
            assert by_first_appearance(clusters.ids[image, head].tolist()) == expected
    prototypes = mean_prototypes(q, clusters, int(clusters.counts.max()))
    for image in range(2):
        own, real = slice(image, image + 1), valid[image]
        attended = prototype_attention(prototypes[own], k[own][:, :, real], v[own][:, :, real], clusters.counts[own])
        output = broadcast(attended, Clusters(clusters.ids[own], clusters.counts[own]))[0]
        np.testing.assert_allclose(output[:, real], case["output"][image][:, real], atol=1e-6)
        assert (output[:, ~real] == 0).all()


@settings(deadline=None, max_examples=100)
@given(keys=st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 3), min_size=1, max_size=40), data=st.data())
def test_clusters_are_the_distinct_keys_of_valid_positions(keys, data):
    valid = data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    keys = [2 * key for key in keys]  # the lowest bit is not looked at
    clusters = assign_clusters(torch.tensor([keys]), torch.tensor([valid]))
    distinct = sorted({key for key, real in zip(keys, valid, strict=True) if real})
    expected = [distinct.index(key) if real else -1 for key, real in zip(keys, valid, strict=True)]
    assert clusters.counts.tolist() == [len(distinct)]
    assert clusters.ids.tolist() == [expected]


def test_prototypes_are_means_and_unused_rows_zero():
    q = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [10.0, 20.0], [99.0, 99.0]]])
    clusters = Clusters(torch.tensor([[1, 1, 0, -1]]), torch.tensor([2]))
    prototypes = mean_prototypes(q, clusters, 3)
    assert prototypes.tolist() == [[[10.0, 20.0], [2.0, 3.0], [0.0, 0.0]]]


def test_broadcast_hands_rows_to_members_and_zero_to_padding():
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    clusters = Clusters(torch.tensor([[1, 0, -1, 1]]), torch.tensor([2]))
    assert broadcast(values, clusters).tolist() == [[[3.0, 4.0], [1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]]
