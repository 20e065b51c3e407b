import torch

from models.reproduction.diversity import Diversity, spread


def test_spread_of_worked_points():
    points = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert spread(points).tolist() == [1.0, 0.0]


def test_diversity_measures_and_shows_every_layer(measured, texts):
    claim = Diversity()
    document = measured(claim)
    results = document["results"]
    assert results["images"] == 2
    assert (len(results["features"]), len(results["queries"])) == (3, 2)
    assert min(*results["features"], *results["queries"]) > 0
    ratios = results["cluster_ratio"]
    assert all(0 < ratio <= 1 for by_layer in ratios.values() for ratio in by_layer)
    heading, table = claim.tables(document)
    assert heading == "## Diversity by layer, 2 images"
    assert f"| queries, distance to centre | {results['queries'][0]:.2f} | {results['queries'][1]:.2f} |" in table
    assert f"| C/N, act:L=32,r=8 | {ratios['act:L=32,r=8'][0]:.2f} |" in table
    figure = claim.figures(document)["diversity"]
    assert list(figure.axes[0].lines[0].get_ydata()) == results["features"]
    assert len(figure.axes[1].lines) == len(ratios)
    assert texts(figure) >= {"features", "queries", "L=32, r=8"}
