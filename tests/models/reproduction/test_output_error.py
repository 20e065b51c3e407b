import pytest

from models.attention_config import AttentionConfig
from models.data.samples import PageSamples
from models.reproduction.inputs import encoder_tokens
from models.reproduction.output_error import OutputErrors, clusters_needed, output_errors


def test_errors_fall_as_cost_rises_and_vanish_at_the_limit(detector):
    attentions = [AttentionConfig.exact(), *(AttentionConfig.act(8, r) for r in (1e-5, 1.0, 8.0))]
    tokens = encoder_tokens(detector, PageSamples(2, 128, 96))
    exact, sharp, middle, wide = output_errors(detector.detr.transformer.encoder, tokens, attentions)
    assert (exact["encoder"], exact["cost"], exact["images"]) == (0, 1, 2)
    assert sharp["encoder"] < 1e-4  # only rounding: a call for each head may sum in another order than one for all
    assert middle["encoder"] > 0
    assert sum(middle["layers"]) < sum(wide["layers"])
    assert sharp["cost"] > middle["cost"] > wide["cost"] > 0
    assert sharp["clusters"] == sharp["tokens"] == 88
    assert len(wide["layers"]) == 2


@pytest.mark.parametrize(("error", "clusters"), [(0.2, 16), (0.4, 8), (0.05, None), (0.5, None)])
def test_clusters_for_an_error_lie_between_their_neighbours(error, clusters):
    rows = [
        {"attention": "tangent:C=32", "clusters": 32, "layers": [0.1, 0.1]},
        {"attention": "tangent:C=8", "clusters": 8, "layers": [0.3, 0.5]},
        {"attention": "kmeans:C=8", "clusters": 8, "layers": [9, 9]},
    ]
    assert clusters_needed(rows, "tangent", error) == (clusters and pytest.approx(clusters))


def test_output_error_shows_every_size(measured, texts):
    claim = OutputErrors()
    document = measured(claim)
    sizes = {row["tokens"] for row in document["results"]["rows"]}
    assert len(sizes) == 2
    _, table = claim.tables(document)
    assert table.splitlines()[0] == f"| attention | error | {' | '.join(f'N = {N:.0f}' for N in sorted(sizes))} |"
    assert len(table.splitlines()) == 2 + 5 * 3
    (errors,) = claim.figures(document).values()
    assert texts(errors) >= {"ACT, key-aware", "tangent", *(f"N = {N:.0f}" for N in sizes)}
    drawn = {tuple(line.get_ydata()) for line in errors.axes[0].lines}
    tangent = [row["encoder"] for row in document["results"]["rows"] if row["attention"].startswith("tangent")]
    assert tuple(tangent[:2]) in drawn
