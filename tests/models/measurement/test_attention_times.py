"""What is measured, on a clock that counts calls: how long anything takes is no concern of a test."""

from dataclasses import replace
from itertools import count

import pytest
import torch

from models.attention.auto import EXACT
from models.attention.exact import ExactAttention
from models.attention.factory import make_attention
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig
from models.config import VouchedAttention
from models.measurement import attention_times
from models.measurement.attention_times import measure_attention_times
from models.measurement.token_counts import token_range

CPU = torch.device("cpu")
VOUCHED = (
    VouchedAttention("tangent:C=8", 0.0, 0.1),
    VouchedAttention("act:L=24,r=2", 0.001, 0.25),
    VouchedAttention("merge:ratio=0.5", 0.0, 0.5),
    VouchedAttention("merge:ratio=0.75,C=4", 0.0, 0.1),
)


def test_every_candidate_has_a_time_at_every_count(tiny_config):
    config = replace(tiny_config, vouched=VOUCHED)
    ticks = count()
    times, _ = measure_attention_times(config, CPU, torch.float32, lambda: next(ticks))
    assert set(times.milliseconds) == {EXACT, *(one.attention for one in VOUCHED)}
    assert (times.tokens[0], times.tokens[-1]) == token_range(config)
    # Every call takes one tick: a layer, of which the encoder has as many as the configuration says, and merging.
    for attention, row in times.milliseconds.items():
        once = attention.mode == "merge"
        assert set(row) == {1e3 * (config.encoder_layers + once)}


def test_a_clock_too_coarse_for_a_call_gives_a_table_all_the_same(tiny_config):
    times, _ = measure_attention_times(replace(tiny_config, vouched=VOUCHED), CPU, torch.float32, lambda: 1.0)
    assert {time for row in times.milliseconds.values() for time in row} == {1e-6}


def test_whether_repeats_agree_is_told(tiny_config):
    config, ticks = replace(tiny_config, vouched=VOUCHED), count()
    assert measure_attention_times(config, CPU, torch.float32, lambda: next(ticks))[1]
    ticks = (1.2**n for n in count())  # every call takes longer than the one before
    assert not measure_attention_times(config, CPU, torch.float32, lambda: next(ticks))[1]


@pytest.mark.parametrize("ratio", [0.05, 0.4, 1.0])
@pytest.mark.parametrize("setting", ["act:L=16,r=1", "act:L=32,r=8"])
def test_act_clusters_made_up_tokens_as_its_ratio_says(tiny_config, setting, ratio):
    attention, tokens = AttentionConfig.parse(setting), 200
    q, k, v = attention_times._inputs(tiny_config, attention, ratio, tokens, CPU, torch.float32)
    counts = make_attention(attention)(q, k, v).cluster_counts
    assert counts.tolist() == [[round(tokens * ratio)] * tiny_config.heads]


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.half)])
def test_it_measures_in_the_precision_that_is_served(tiny_config, monkeypatch, dtype):
    seen = set()

    class Noting:
        def __call__(self, q, k, v):
            seen.update({q.dtype, k.dtype, v.dtype})
            return make_attention(EXACT)(q, k, v)

        def attend_sized(self, q, k, v, sizes):
            return self(q, k, v)

    monkeypatch.setattr(attention_times, "make_attention", lambda attention: Noting())
    measure_attention_times(replace(tiny_config, vouched=VOUCHED), CPU, dtype)
    assert seen == {dtype}


@pytest.mark.parametrize("tokens", [1, 2, 7, 48])
def test_made_up_tokens_can_be_merged(tiny_config, tokens):
    made = attention_times.made_up_tokens(tiny_config, tokens, CPU, torch.float32)
    assert made.lengths == (len(made.values),)
    assert 0 <= len(made.values) - tokens <= 1
    assert TokenMerging(0.5)(made).tokens.lengths == (len(made.values) - round(0.5 * len(made.values)),)


def test_a_layer_attends_to_what_is_left_after_merging(tiny_config, monkeypatch):
    seen = []
    monkeypatch.setattr(
        ExactAttention, "attend_sized", lambda self, q, k, v, sizes: seen.append(sizes) or self(q, k, v)
    )
    merging = replace(tiny_config, vouched=(VouchedAttention("merge:ratio=0.5", 0.0, 0.5),))
    times, _ = measure_attention_times(merging, CPU, torch.float32)
    assert {sizes.shape[1] for sizes in seen} == {round(-(-tokens // 2)) for tokens in times.tokens}
    assert all(int(sizes.sum()) == 2 * sizes.shape[1] for sizes in seen)
