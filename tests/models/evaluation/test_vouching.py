from dataclasses import replace

import pytest

from models.attention_config import AttentionConfig
from models.config import VouchedAttention
from models.evaluation.evaluate import evaluate
from models.evaluation.vouching import MAX_AP_LOST, vouched_attention, write_vouching_model
from models.weights import read_config, resolve, save_checkpoint

EXACT, ACT, TANGENT = AttentionConfig.exact(), AttentionConfig.act(16, 1.0), AttentionConfig.tangent(4)


@pytest.fixture
def evaluated(detector, pages):
    """Return a function (AP lost by ACT, by tangent attention) that returns evaluations, exact attention's first."""
    kmeans = AttentionConfig.kmeans(4)
    evaluated = evaluate(detector, pages, (EXACT, ACT, TANGENT, kmeans, AttentionConfig.merge(0.5)))

    def evaluations(act_lost, tangent_lost, merge_lost=1.0):
        lost = (0.0, act_lost, tangent_lost, 0.0, merge_lost)
        return [
            replace(one, metrics=replace(one.metrics, ap=0.8 - own)) for one, own in zip(evaluated, lost, strict=True)
        ]

    return evaluations


def test_those_that_lose_little_are_vouched_for_with_their_loss_and_clusters(evaluated):
    evaluations = evaluated(MAX_AP_LOST + 1e-4, MAX_AP_LOST - 1e-4)
    (tangent,) = vouched_attention(evaluations)
    assert (tangent.attention, tangent.ap_lost) == (TANGENT, 0.0019)
    assert tangent.cluster_ratio == pytest.approx(evaluations[2].clusters[0] / evaluations[2].tokens, abs=1e-4)


def test_those_that_are_better_than_exact_attention_are_vouched_for(evaluated):
    assert [one.setting for one in vouched_attention(evaluated(-0.01, 0.0))] == ["act:L=16,r=1", "tangent:C=4"]


def test_merging_is_vouched_for_with_the_share_that_is_left(evaluated):
    (merge,) = vouched_attention(evaluated(1.0, 1.0, 0.0))
    assert (merge.setting, merge.cluster_ratio) == ("merge:ratio=0.5", pytest.approx(0.5, abs=0.02))


def test_without_exact_attention_nothing_can_be_said(evaluated):
    with pytest.raises(ValueError, match="exact attention has to be evaluated too"):
        vouched_attention(evaluated(0.0, 0.0)[1:])


def test_the_written_model_has_the_same_weights_and_vouches_for_these_only(tiny_detr, tmp_path):
    before = VouchedAttention("tangent:C=64", 0.0, 0.5)
    given, written = tmp_path / "given.safetensors", tmp_path / "written.safetensors"
    save_checkpoint(given, tiny_detr.state_dict(), replace(tiny_detr.config, vouched=(before,)))
    vouched = (VouchedAttention("tangent:C=4", 0.001, 0.1), VouchedAttention("act:L=16,r=1", -0.002, 0.75))
    write_vouching_model(written, str(given), vouched)
    assert read_config(written) == replace(tiny_detr.config, vouched=vouched)
    old, new = resolve(str(given)).state_dict, resolve(str(written)).state_dict
    assert old.keys() == new.keys()
    assert all(old[key].equal(new[key]) for key in old)
