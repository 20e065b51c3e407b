from dataclasses import replace

import pytest

from models.config import BoxRefinementConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.evaluate import EXACT, evaluate
from models.evaluation.weights_digest import weights_digest
from models.reproduction.claim import Plan
from models.reproduction.tradeoff import TARGETS, Target, Tradeoff


@pytest.mark.parametrize(
    ("lost", "interval", "verdict"),
    [
        (0.2, None, "met"),
        (0.2, (0.0, 0.4), "met"),
        (0.2, (-0.5, 0.9), "met, within chance"),
        (0.9, (0.3, 1.5), "missed, within chance"),
        (0.9, (0.6, 1.2), "missed"),
        (None, None, "every setting costs more"),
    ],
)
def test_a_verdict_says_whether_chance_might_change_it(lost, interval, verdict):
    assert Target("a claim", (), 0.2, 0.5).verdict(lost, interval) == verdict


@pytest.mark.parametrize("model", ["pages-small", "mine-distilled", "somebody/detr"])
@pytest.mark.parametrize("variant", ["", "unrefined", "distilled"])
def test_a_claim_is_known_again_by_its_results(model, variant):
    claim = Tradeoff(model, variant)
    assert Tradeoff.of({"model": {"name": model}, "claim": claim.name}) == claim
    assert "/" not in claim.name


def test_results_of_another_model_are_refused():
    with pytest.raises(ValueError, match="tradeoff-352 is no trade-off of pages-small"):
        Tradeoff.of({"model": {"name": "pages-small"}, "claim": "tradeoff-352"})


def test_a_tradeoff_shows_targets_and_settings(detector, measured, texts):
    claim = Tradeoff("tiny")
    document = measured(claim)
    rows = document["results"]["rows"]
    exact = rows[0]
    assert (exact["attention"], exact["cost"], exact["encoder_error"]) == ("exact", 1, None)
    assert all(one["encoder_error"] > 0 and one["lost_since"] is None for one in rows[1:])
    assert all(one["lost_interval"][0] <= one["lost_interval"][1] for one in rows[1:])
    heading, targets, settings = claim.tables(document)
    assert heading.endswith("2 images, model tiny")
    assert [line.split(" | ")[1] for line in targets.splitlines()[2:]] == ["ACT, L = 16", "tangent"]
    assert f"| exact | 1 | 100.0% | 100.0% | - | {100 * exact['ap']:.1f} | 0.0 | - |" in settings
    assert len(settings.splitlines()) == 2 + len(rows)
    figure = claim.figures(document)["tradeoff-tiny"]
    assert texts(figure) >= {"ACT, key-aware", "tangent", "K-means", "the same, beyond the paper"}
    tangent = [one for one in rows if one["attention"].startswith("tangent") and one["cost"] <= 2]
    drawn = [tuple(line.get_ydata()) for line in figure.axes[1].lines]
    assert tuple(100 * one["ap"] for one in sorted(tangent, key=lambda one: one["cost"])) in drawn


def test_merging_is_drawn_over_what_the_whole_encoder_costs(measured, texts):
    claim = Tradeoff("tiny")
    document = measured(claim)
    exact, *others = document["results"]["rows"]
    merged, both = (one for one in others if one["attention"].startswith("merge"))
    figures = claim.figures(document)
    whole = figures["tradeoff-tiny-encoder"]
    assert texts(whole) >= {"merging", "merging and tangent", "tangent", "ACT, key-aware"}
    assert "merging" not in texts(figures["tradeoff-tiny"])
    drawn = {(*line.get_xdata(), *line.get_ydata()) for line in whole.axes[0].lines}
    cost = merged["encoder_gflops"] / exact["encoder_gflops"]
    assert cost > merged["cost"]  # attention falls with the square of the tokens that are left
    assert (cost, 100 * merged["ap"]) in drawn
    assert (both["clusters"], merged["clusters"]) == (16, 0)
    document["results"]["rows"] = [exact, *(one for one in others if one not in (merged, both))]
    assert list(claim.figures(document)) == ["tradeoff-tiny"]


def test_a_distilled_model_counts_from_exact_attention_before_it(detector, plan, measured):
    claim, plan = Tradeoff("tiny", "distilled"), replace(plan, distilled=detector)
    document = measured(claim, plan=plan)
    results = document["results"]
    (before,) = evaluate(detector, PageSamples(2), (EXACT,))
    assert results["before_ap"] == before.metrics.ap
    assert results["rows"][0]["lost_since"] == (0, 0)
    assert all(one["lost_since"] == one["lost_interval"] for one in results["rows"][1:])
    assert document["settings"]["distilled_sha256"] == weights_digest(detector)
    _, targets, _ = claim.tables(document)
    assert f"| {TARGETS[0].claim}, after MTKD | ACT, L = 16 | 60% | 0.2 |" in targets


def test_a_model_with_many_tokens_gets_fewer_images_and_settings(detector):
    plan = Plan(pages=50)
    few, many = (
        Tradeoff("tiny").settings(one, plan)
        for one in (detector, detector.with_sizes(32 * detector.config.backbone.stride))
    )
    assert (few["images"], many["images"]) == (50, 40)
    assert set(many["grid"]["clusters"]) < set(few["grid"]["clusters"])
    assert many["grid"]["merging"] == few["grid"]["merging"]


def test_only_the_unrefined_variant_is_without_box_refinement(tiny_config, plan):
    refined = Detector(Detr(replace(tiny_config, box_refinement=BoxRefinementConfig())))
    assert Tradeoff("tiny").settings(refined, plan)["box_refinement"] is True
    assert "box_refinement" not in Tradeoff("tiny", "unrefined").settings(refined, plan)


def test_a_distilled_claim_needs_the_distilled_model(detector, plan):
    with pytest.raises(ValueError, match="needs the distilled model"):
        Tradeoff("tiny", "distilled").settings(detector, plan)
