import math

import pytest

from models.data.fields import read_flag, read_key, read_name, read_number, read_side, read_whole


@pytest.mark.parametrize("value", [7, 7.0, "7", " 7 ", "007"])
def test_ids_are_numbers_wherever_they_can_be(value):
    assert read_key(value) == 7


def test_ids_may_be_words_and_huge():
    assert read_key("3f2a-11") == "3f2a-11"
    assert read_key(10**30) == 10**30
    assert read_key(-1) == -1


@pytest.mark.parametrize("value", [None, "", " ", True, 1.5, math.nan, math.inf, [1], {}])
def test_other_ids_are_refused(value):
    with pytest.raises(ValueError, match="no id"):
        read_key(value)


def test_numbers_may_be_strings():
    assert [read_number(value) for value in (2, 2.5, "2.5", " 3 ", "1e2")] == [2, 2.5, 2.5, 3, 100]
    assert math.isnan(read_number("nan"))
    assert read_whole("12.0") == 12


@pytest.mark.parametrize("value", [None, True, "", "a", "2,5", [1], 10**400])
def test_other_numbers_are_refused(value):
    with pytest.raises(ValueError, match="no number"):
        read_number(value)


def test_sides_may_be_left_open():
    assert [read_side(value) for value in (640, "480", 320.0, None, 0, -1)] == [640, 480, 320, None, None, None]
    for value in ("wide", 1.5, math.nan):
        with pytest.raises(ValueError, match=r"no (whole )?number"):
            read_side(value)


@pytest.mark.parametrize(
    ("values", "flag"),
    [((1, 1.0, True, "1", "true", "True", " 1 "), True), ((0, 0.0, False, None, "0", "false", "False", ""), False)],
)
def test_flags_have_many_spellings(values, flag):
    assert [read_flag(value) for value in values] == [flag] * len(values)


@pytest.mark.parametrize("value", [2, -1, "yes", [], 0.5])
def test_other_flags_are_refused(value):
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        read_flag(value)


def test_names_have_one_form():
    assert read_name(" cafe\u0301 ") == "caf\u00e9"
    assert read_name(5) == "5"
    for value in ("", "  ", None, True, ["a"]):
        with pytest.raises(ValueError, match=r"empty|no name"):
            read_name(value)
