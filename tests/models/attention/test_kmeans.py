import torch

from models.attention.exact import ExactAttention
from models.attention.kmeans import KMeansAttention


def test_empty_clusters_are_not_counted(qkv):
    q, k, v = qkv(tokens=40)
    q = q[:, :, :5].repeat(1, 1, 8, 1)
    kmeans = KMeansAttention(20)(q, k, v)
    assert kmeans.cluster_counts.tolist() == [[5] * 3] * 2
    torch.testing.assert_close(kmeans.values, ExactAttention()(q, k, v).values)
