import pytest
import torch

from models.reproduction.collision_rates import CollisionRates, query_pairs, rates_by_distance, synthetic_pairs


def test_rates_agree_with_the_theory_at_every_distance():
    first, second = synthetic_pairs(32, 4000, 2.0, torch.Generator().manual_seed(0))
    bins = rates_by_distance(first, second, 4, 4.0, bins=5)
    assert [one["pairs"] for one in bins] == [800] * 5
    distances = [one["distance"] for one in bins]
    assert distances == sorted(distances)
    assert [one["measured"] for one in bins] == pytest.approx([one["predicted"] for one in bins], abs=0.03)


def test_query_pairs_are_of_one_head_and_half_are_near():
    queries = torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    queries[1] += 1000
    first, second = query_pairs(queries, 400, torch.Generator().manual_seed(1))
    assert first.shape == second.shape == (400, 4)
    apart = (first - second).norm(dim=-1)
    assert apart.max() < 100
    head = apart[:200]
    assert head[100:].mean() < head[:100].mean()
    assert (head[100:] > 0).all()


def test_a_single_token_pairs_with_itself():
    first, second = query_pairs(torch.ones(1, 1, 4), 10, torch.Generator().manual_seed(0))
    assert torch.equal(first, second)


def test_collision_rates_are_drawn_over_the_theory(measured, texts):
    claim = CollisionRates()
    document = measured(claim)
    settings = [(one["L"], one["r"]) for one in document["results"]]
    assert [L for L, _ in settings] == [1, 16, 32, 32]
    figure = claim.figures(document)["collision-rates"]
    assert texts(figure) >= {"encoder queries", "drawn pairs", *(f"L = {L}, r = {r:g}" for L, r in settings)}
    for plot, one in zip(figure.axes, document["results"], strict=True):
        _, synthetic, queries = plot.lines
        rates = [point["measured"] for point in one["queries"] if point["distance"] <= plot.get_xlim()[1]]
        assert list(queries.get_ydata()) == rates
        assert max(synthetic.get_xdata()) <= plot.get_xlim()[1]
    assert claim.tables(document) == []
