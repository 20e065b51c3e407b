import math

import pytest

from models.attention.auto import EXACT, MARGIN, AttentionTimes, AutoAttention, ChosenAttention
from models.attention_config import AttentionConfig

TANGENT, ACT = AttentionConfig.tangent(16), AttentionConfig.act(16, 1.0)


def squares_and_lines(tokens=(100, 400, 1600)):
    """Times of N² for exact attention and of 400 N for tangent attention: equal at 400 tokens."""
    return AttentionTimes(tokens, {EXACT: tuple(n**2 for n in tokens), TANGENT: tuple(400 * n for n in tokens)})


@pytest.mark.parametrize("tokens", [1, 99, 100, 250, 400, 1599, 1600, 20_000])
def test_times_that_are_powers_are_met_between_and_beyond_the_counts(tokens):
    times = squares_and_lines()
    assert times.at(EXACT, tokens) == pytest.approx(tokens**2)
    assert times.at(TANGENT, tokens) == pytest.approx(400 * tokens)


def test_more_tokens_never_take_less_time_whatever_was_measured():
    times = AttentionTimes((100, 200, 300, 400), {EXACT: (2.0, 5.0, 4.0, 4.5)})
    at = [times.at(EXACT, tokens) for tokens in range(50, 900, 10)]
    assert at == sorted(at)
    assert times.at(EXACT, 300) == 5.0


def test_one_count_stands_for_all():
    times = AttentionTimes((300,), {EXACT: (2.0,), TANGENT: (1.0,)})
    assert times.at(EXACT, 1) == times.at(EXACT, 9000) == 2.0


def test_the_cheapest_is_chosen_once_it_saves_the_margin():
    auto = AutoAttention((TANGENT,), squares_and_lines())
    pays = math.ceil(400 / (1 - MARGIN))
    assert [auto.choose(n).attention for n in (1, 400, pays - 1)] == [EXACT] * 3
    assert [auto.choose(n).attention for n in (pays, 1600, 50_000)] == [TANGENT] * 3


def test_of_several_the_cheapest_counts_and_of_equal_ones_the_first():
    rows = {EXACT: (1.0, 100.0), TANGENT: (5.0, 50.0), ACT: (5.0, 40.0)}
    times = AttentionTimes((100, 1000), rows)
    assert AutoAttention((TANGENT, ACT), times).choose(1000).attention == ACT
    equal = AttentionTimes((100, 1000), rows | {ACT: rows[TANGENT]})
    assert AutoAttention((TANGENT, ACT), equal).choose(1000).attention == TANGENT
    assert AutoAttention((ACT, TANGENT), equal).choose(1000).attention == ACT


def test_the_reason_has_the_measured_ratio():
    auto = AutoAttention((TANGENT,), squares_and_lines())
    said = "auto: tangent:C=16 was measured to take {} of exact attention's time in the encoder at {} tokens"
    assert auto.choose(1600) == ChosenAttention(TANGENT, said.format("0.25", 1600))
    assert auto.choose(200) == ChosenAttention(EXACT, said.format("2.00", 200))


def test_without_vouched_attention_it_is_exact():
    chosen = AutoAttention().choose(16_000)
    assert chosen.attention == EXACT
    assert "vouches for no approximate attention" in chosen.reason


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [
        ((), {EXACT: ()}),
        ((0, 10), {EXACT: (1.0, 2.0)}),
        ((20, 10), {EXACT: (1.0, 2.0)}),
        ((10, 10), {EXACT: (1.0, 2.0)}),
        ((10, 20), {EXACT: (1.0,)}),
        ((10, 20), {EXACT: (1.0, 0.0)}),
        ((10, 20), {EXACT: (1.0, math.inf)}),
        ((10, 20), {EXACT: (1.0, math.nan)}),
        ((10, 20), {TANGENT: (1.0, 2.0)}),
    ],
)
def test_a_table_that_says_nothing_is_refused(tokens, rows):
    with pytest.raises(ValueError, match=r"token counts|exact attention|a time above 0"):
        AttentionTimes(tokens, rows)
