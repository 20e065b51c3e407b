from dataclasses import replace

import pytest

from models.config import BoxRefinementConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.evaluate import EXACT, evaluate
from models.evaluation.weights_digest import weights_digest
from models.reproduction.claim import Plan, Resolution
from models.reproduction.tradeoff import TARGETS, Target, Tradeoff, lost_at, settings_of


def row(attention, ap, cost, **fields):
    lost = 100 * (0.8 - ap)
    intervals = {"lost_interval": [lost - 1, lost + 2], "lost_since": [lost + 4, lost + 7]}
    return {"attention": attention, "ap": ap, "ap50": 0.9, "cost": cost, "cluster_ratio": 0.1} | intervals | fields


ROWS = [
    row("exact", 0.8, 1.0, edge_drift=None, lost_interval=None),
    row("act:L=16,r=1", 0.79, 0.8, edge_drift=1),
    row("act:L=16,r=1,seed=1", 0.77, 0.8, edge_drift=2),
    row("act:L=16,r=4", 0.7, 0.3, edge_drift=4),
    row("act:L=16,r=4,seed=1", 0.6, 0.5, edge_drift=4),
]


def test_rows_that_differ_in_the_seed_are_one_setting():
    exact, fine, coarse = settings_of(ROWS)
    assert exact["edge_drift"] is None
    assert (fine.attention, fine.family, len(fine.rows)) == ("act:L=16,r=1", "ACT, L = 16", 2)
    assert (fine["ap"], fine["edge_drift"], coarse["cost"]) == pytest.approx((0.78, 1.5, 0.4))
    assert fine["lost_interval"] == pytest.approx([1, 4])
    assert exact["lost_interval"] is None


@pytest.mark.parametrize(
    ("cost", "before_ap", "lost"), [(0.6, None, 8.5), (0.9, None, 2), (0.9, 0.81, 3), (0.3, None, None)]
)
def test_loss_at_a_cost_lies_between_the_settings_beside_it(cost, before_ap, lost):
    points, interval = lost_at(settings_of(ROWS), "ACT, L = 16", cost, before_ap)
    assert points == (lost and pytest.approx(lost))
    if before_ap is not None:
        assert interval == pytest.approx((2 + 4, 2 + 7))
    else:
        assert interval == (lost and pytest.approx((lost - 1, lost + 2)))


def test_a_loss_without_an_interval_has_none():
    assert lost_at(settings_of(ROWS), "exact", 1) == (0, None)


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


@pytest.mark.parametrize("name", ["tradeoff-352", "tradeoff-352-unrefined", "tradeoff-416-dense-distilled"])
def test_names_are_read_as_they_are_written(name):
    assert Tradeoff.parse(name).name == name


def test_a_tradeoff_shows_targets_and_settings(detector, measured, texts):
    claim = Tradeoff(Resolution(64))
    document = measured(claim)
    rows = document["results"]["rows"]
    exact = rows[0]
    assert (exact["attention"], exact["cost"], exact["encoder_error"]) == ("exact", 1, None)
    assert all(one["encoder_error"] > 0 and one["lost_since"] is None for one in rows[1:])
    assert all(one["lost_interval"][0] <= one["lost_interval"][1] for one in rows[1:])
    heading, targets, settings = claim.tables(document)
    assert heading.endswith("2 images, model tiny")
    assert [line.split(" | ")[1] for line in targets.splitlines()[2:]] == ["ACT, L = 16", "tangent"]
    assert f"| exact | 1 | 100.0% | - | {100 * exact['ap']:.1f} | 0.0 | - |" in settings
    assert len(settings.splitlines()) == 2 + len(rows)
    figure = claim.figures(document)["tradeoff-64"]
    assert texts(figure) >= {"ACT, key-aware", "tangent", "K-means", "the same, beyond the paper"}
    tangent = [one for one in rows if one["attention"].startswith("tangent") and one["cost"] <= 2]
    drawn = [tuple(line.get_ydata()) for line in figure.axes[1].lines]
    assert tuple(100 * one["ap"] for one in sorted(tangent, key=lambda one: one["cost"])) in drawn


def test_a_distilled_model_counts_from_exact_attention_before_it(detector, plan, measured):
    claim, plan = Tradeoff(Resolution(64), "distilled"), replace(plan, distilled=detector)
    document = measured(claim, plan=plan)
    results = document["results"]
    (before,) = evaluate(detector, PageSamples(2), (EXACT,))
    assert results["before_ap"] == before.metrics.ap
    assert results["rows"][0]["lost_since"] == (0, 0)
    assert all(one["lost_since"] == one["lost_interval"] for one in results["rows"][1:])
    assert document["settings"]["distilled_sha256"] == weights_digest(detector)
    _, targets, _ = claim.tables(document)
    assert f"| {TARGETS[0].claim}, after MTKD | ACT, L = 16 | 60% | 0.2 |" in targets


def test_a_distilled_model_gets_few_settings_at_many_tokens(detector):
    plan = Plan(64, pages=50, distilled=detector)
    dense = Tradeoff(Resolution(64, dense=True)).settings(detector, plan)
    distilled = Tradeoff(Resolution(64, dense=True), "distilled").settings(detector, plan)
    assert distilled["images"] == dense["images"] < 50
    assert (distilled["grid"]["clusters"], distilled["grid"]["kmeans"]) == ((4, 8, 16), False)
    small = Tradeoff(Resolution(64), "distilled").settings(detector, plan)
    assert small["grid"] == Tradeoff(Resolution(64)).settings(detector, plan)["grid"]


def test_only_the_unrefined_variant_is_without_box_refinement(tiny_config, plan):
    refined = Detector(Detr(replace(tiny_config, box_refinement=BoxRefinementConfig())))
    assert Tradeoff(Resolution(64)).settings(refined, plan)["box_refinement"] is True
    assert "box_refinement" not in Tradeoff(Resolution(64), "unrefined").settings(refined, plan)


def test_a_distilled_claim_needs_the_distilled_model(detector, plan):
    with pytest.raises(ValueError, match="needs the distilled model"):
        Tradeoff(Resolution(64), "distilled").settings(detector, plan)
