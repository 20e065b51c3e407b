import pytest
import torch

from models.clustering import kmeans as module
from models.clustering.kmeans import (
    PRODUCT_CLUSTERS,
    SAMPLE,
    kmeans,
    nearest,
    sample_size,
    spread_sample,
    spread_start,
)


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inertia(points, grouping):
    own = grouping.prototypes.gather(-2, grouping.ids[..., None].expand_as(points))
    return (points - own).square().sum()


def positive(dim):
    factor = drawn(dim, dim, seed=9)
    return factor @ factor.T


@pytest.mark.parametrize("matrix", [None, positive(5)], ids=["euclidean", "metric"])
def test_nearest_is_by_distance(matrix):
    points, centres = drawn(2, 3, 40, 5), drawn(2, 3, 7, 5, seed=1)
    step = points[..., :, None, :] - centres[..., None, :, :]
    squares = (step @ (torch.eye(5, dtype=step.dtype) if matrix is None else matrix) * step).sum(-1)
    assert torch.equal(nearest(points, centres, matrix), squares.argmin(-1))


def test_the_first_of_equal_centres_wins():
    points = drawn(6, 3)
    assert nearest(points, points[:1].expand(4, -1)).tolist() == [0] * 6


def test_prototypes_are_means_of_their_points_and_sizes_count_them():
    points = drawn(2, 3, 40, 5)
    grouping = kmeans(points, spread_start(points, 4), 3)
    for image in range(2):
        for head in range(3):
            for cluster in range(4):
                members = points[image, head][grouping.ids[image, head] == cluster]
                assert grouping.sizes[image, head, cluster] == len(members)
                torch.testing.assert_close(grouping.prototypes[image, head, cluster], members.mean(0))


def test_rounds_lower_the_inertia_and_settle():
    points = drawn(1, 1, 300, 4)
    runs = [kmeans(points, spread_start(points, 6), rounds) for rounds in (0, 1, 2, 4, 100, 101)]
    inertias = [inertia(points, run).item() for run in runs]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[0] > 1.05 * inertias[-1]
    assert torch.equal(runs[-1].ids, runs[-2].ids)


def test_without_rounds_points_go_to_the_start():
    points = drawn(30, 4)
    start = spread_start(points, 5)
    assert torch.equal(kmeans(points, start, 0).ids, nearest(points, start))


def test_separate_blobs_are_found():
    centres = 100 * drawn(4, 6)
    points = (centres[:, None] + drawn(4, 25, 6, seed=1)).flatten(0, 1)
    grouping = kmeans(points, spread_start(points, 4), 2)
    assert torch.equal(grouping.ids.view(4, 25), torch.arange(4)[:, None].expand(4, 25))


def test_an_empty_cluster_stays_where_it_was_and_is_not_counted():
    points = drawn(20, 3)
    start = torch.cat((points[:2], torch.full((1, 3), 1e3, dtype=points.dtype)))
    grouping = kmeans(points, start, 4)
    assert torch.equal(grouping.prototypes[2], start[2])
    assert grouping.sizes[2] == 0
    assert grouping.clusters.counts == 2


def test_equal_points_make_one_cluster():
    points = torch.ones(2, 20, 3)
    grouping = kmeans(points, spread_start(points, 5), 3)
    assert grouping.clusters.counts.tolist() == [1, 1]
    assert torch.equal(grouping.prototypes, torch.ones(2, 5, 3))


def test_the_metric_stretches_space():
    """Points differ in both coordinates; a metric that sees one of them groups by that one."""
    points = torch.tensor([[0.0, 0], [9, 1], [0, 1], [9, 0]])
    by_first, by_second = (kmeans(points, points[:2], 2, torch.diag(weights)).ids.tolist() for weights in torch.eye(2))
    assert by_first == [0, 1, 0, 1]
    assert by_second == [0, 1, 1, 0]


def test_weights_are_as_good_as_copies():
    points, weights = drawn(12, 3), torch.tensor([1.0, 3, 2] * 4, dtype=torch.float64)
    copies = points.repeat_interleave(weights.long(), 0)
    weighted = kmeans(points, points[:3], 3, weights=weights)
    copied = kmeans(copies, points[:3], 3)
    torch.testing.assert_close(weighted.prototypes, copied.prototypes)
    assert torch.equal(weighted.sizes, copied.sizes)


def test_points_without_weight_move_nothing():
    points = drawn(10, 3)
    weights = torch.ones(10, dtype=points.dtype)
    weights[5:] = 0
    some = kmeans(points, points[:2], 3, weights=weights)
    torch.testing.assert_close(some.prototypes, kmeans(points[:5], points[:2], 3).prototypes)


@pytest.mark.parametrize(("tokens", "clusters"), [(1, 1), (1, 8), (7, 7), (7, 8), (100, 99), (1000, 16)])
def test_start_is_of_different_points_spread_over_all(tokens, clusters):
    points = torch.arange(tokens, dtype=torch.float32)[:, None]
    for seed in range(5):
        start = spread_start(points, clusters, seed)[:, 0]
        assert len(start) == min(clusters, tokens) == len(start.unique())
        assert start.diff().max() <= tokens / len(start) + 1 if len(start) > 1 else True


def test_seed_decides_where_to_start():
    points = drawn(100, 3)
    assert torch.equal(spread_start(points, 5, 3), spread_start(points, 5, 3))
    assert not torch.equal(spread_start(points, 5, 3), spread_start(points, 5, 4))


def test_gradients_reach_the_points_as_shares_of_their_means():
    points = drawn(20, 3).requires_grad_()
    grouping = kmeans(points, spread_start(points, 4), 3)
    grouping.prototypes.sum().backward()
    shares = (1 / grouping.sizes)[grouping.ids]
    torch.testing.assert_close(points.grad, shares[:, None].expand(-1, 3))


@pytest.mark.parametrize(("tokens", "size"), [(3, 5), (5, 5), (6, 5), (1000, 7), (2508, 512)])
def test_a_sample_has_one_point_of_every_stretch(tokens, size):
    points = torch.arange(tokens, dtype=torch.float64)[:, None]
    sample = spread_sample(points, size)[:, 0]
    assert len(sample) == min(tokens, size) == len(sample.unique())
    stretch = torch.arange(len(sample)) * (tokens / len(sample))
    assert ((sample >= stretch.floor()) & (sample < stretch + tokens / len(sample))).all()


def test_a_sample_of_a_grid_meets_all_its_columns():
    """Every 5th token of rows of 40 would meet 8 columns."""
    column = (torch.arange(2560) % 40)[:, None]
    assert len(spread_sample(column, 512).unique()) == 40


def test_samples_grow_with_the_clusters():
    assert [sample_size(points, 16) for points in (5, SAMPLE, 10**5)] == [5, SAMPLE, SAMPLE]
    assert sample_size(10**5, 4096) == 8 * 4096


def test_rounds_see_a_sample_and_the_last_assignment_all_points():
    centres = 100 * drawn(4, 6)
    points = (centres[:, None] + drawn(4, 400, 6, seed=1)).flatten(0, 1)
    assert sample_size(len(points), 4) < len(points)
    grouping = kmeans(points, spread_start(points, 4), 2)
    assert torch.equal(grouping.ids.view(4, 400), torch.arange(4)[:, None].expand(4, 400))
    torch.testing.assert_close(grouping.prototypes, points.view(4, 400, 6).mean(1))


@pytest.mark.parametrize("weighted", [False, True])
def test_means_are_the_same_by_product_and_by_adding_rows(weighted, monkeypatch):
    points, weights = drawn(2, 300, 4), torch.rand(2, 300, dtype=torch.float64) if weighted else None
    by_product = kmeans(points, spread_start(points, 6), 3, weights=weights)
    monkeypatch.setattr(module, "PRODUCT_CLUSTERS", 0)
    by_rows = kmeans(points, spread_start(points, 6), 3, weights=weights)
    assert PRODUCT_CLUSTERS >= 6
    torch.testing.assert_close(by_product.prototypes, by_rows.prototypes)
    torch.testing.assert_close(by_product.sizes, by_rows.sizes)
