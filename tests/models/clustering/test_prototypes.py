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
    """Renumber the clusters of one row in the order in which they come."""
    numbers = {}
    return [numbers.setdefault(cluster, len(numbers)) for cluster in ids]


@pytest.mark.parametrize("image", [0, 1])
def test_the_golden_case_from_queries_to_output(case, image):
    r, valid = float(case["r"]), case["valid"][image]
    q, k, v = (case[name][image : image + 1, :, valid].double() for name in "qkv")
    planes = HashPlanes(case["planes"].double(), case["offsets"].double() / r)
    clusters = assign_clusters(bucket_keys(hash_buckets(q, planes, r)))
    assert torch.equal(clusters.counts[0], case["cluster_counts"][image])
    for head in range(3):
        expected = case["clusters"][image, head, valid].tolist()
        assert by_first_appearance(clusters.ids[0, head].tolist()) == expected
    prototypes = mean_prototypes(q, clusters, int(clusters.counts.max()))
    output = broadcast(prototype_attention(prototypes, k, v, clusters.counts), clusters)
    np.testing.assert_allclose(output[0], case["output"][image][:, valid], atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), min_size=1, max_size=40))
def test_clusters_are_the_distinct_keys(keys):
    clusters = assign_clusters(torch.tensor([keys]))
    distinct = sorted(set(keys))
    assert clusters.counts.tolist() == [len(distinct)]
    assert clusters.ids.tolist() == [[distinct.index(key) for key in keys]]


def test_prototypes_are_means_and_unused_rows_zero():
    q = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [10.0, 20.0]]])
    clusters = Clusters(torch.tensor([[1, 1, 0]]), torch.tensor([2]))
    prototypes = mean_prototypes(q, clusters, 3)
    assert prototypes.tolist() == [[[10.0, 20.0], [2.0, 3.0], [0.0, 0.0]]]


def test_broadcast_hands_rows_to_members():
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    clusters = Clusters(torch.tensor([[1, 0, 1]]), torch.tensor([2]))
    assert broadcast(values, clusters).tolist() == [[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]]
