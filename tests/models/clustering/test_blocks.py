"""Blocks of the members of clusters."""

import pytest
import torch

from models.clustering.blocks import cluster_blocks


def drawn_ids(groups, tokens, clusters, seed=0):
    return torch.randint(0, clusters, (groups, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("tokens", "clusters", "size"), [(1, 1, 4), (70, 3, 8), (64, 1, 8), (5, 40, 4), (200, 16, 32)])
def test_every_point_has_a_place_in_a_block_of_its_cluster(tokens, clusters, size):
    ids = drawn_ids(3, tokens, clusters)
    blocks = cluster_blocks(ids, clusters, size)
    assert len(blocks.places.unique()) == len(blocks.places) == 3 * tokens
    assert torch.equal(blocks.points[blocks.places], torch.arange(3 * tokens))
    own = (ids + clusters * torch.arange(3)[:, None]).flatten()
    assert torch.equal(blocks.clusters[blocks.places // size], own)


def test_rows_come_back_as_they_went():
    rows = torch.randn(3 * 70, 5, generator=torch.Generator().manual_seed(1))
    blocks = cluster_blocks(drawn_ids(3, 70, 4), 4, 16)
    gathered = blocks.gather(rows)
    assert gathered.shape == (len(blocks.clusters), 16, 5)
    assert torch.equal(blocks.scatter(gathered), rows)


@pytest.mark.parametrize("sizes", [(64, 0, 0), (33, 33, 33), (1, 1, 97)])
def test_the_worst_case_fits(sizes):
    """Each cluster may leave all but one place of a block empty."""
    ids = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))[None]
    blocks = cluster_blocks(ids, 3, 32)
    assert torch.equal(blocks.points[blocks.places], torch.arange(sum(sizes)))
