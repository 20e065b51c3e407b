"""The classes that a query names: commas separate them, and may be part of them."""

from __future__ import annotations

import pytest

from models.config import AttentionConfig, DetrConfig
from service.errors import BadParameter
from service.http.detection_options import Defaults, wish
from service.http.schemas import DetectQuery

KNOWN = ("knife", "fork", "knife, fork", "salt,pepper,oil", "caf\u00e9", "pepper")


def chosen(*labels: str, known: tuple[str, ...] = KNOWN) -> frozenset[str] | None:
    defaults = Defaults("exact", 32, 8.0, 32, 0.5, 100, None, 1000.0, known)
    return wish(DetectQuery(labels=list(labels)), defaults, 0.0).labels


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("knife",), {"knife"}),
        (("knife,fork",), {"knife", "fork"}),
        (("knife", " fork "), {"knife", "fork"}),
        (("knife, fork",), {"knife, fork"}),
        (("salt,pepper,oil",), {"salt,pepper,oil"}),
        (("pepper,salt,pepper,oil,knife, fork,fork",), {"pepper", "salt,pepper,oil", "knife, fork", "fork"}),
        (("cafe\u0301,fork",), {"caf\u00e9", "fork"}),
        ((), None),
    ],
)
def test_a_class_with_commas_can_be_named_alone_and_among_others(labels: tuple[str, ...], names: set[str]) -> None:
    assert chosen(*labels) == names


def test_the_answer_is_spelled_as_the_model_spells_it() -> None:
    assert chosen("caf\u00e9", known=("cafe\u0301",)) == {"cafe\u0301"}


@pytest.mark.parametrize("labels", ["salt", "salt,pepper", "knife,fork,cat", "Knife"])
def test_other_names_are_refused_with_those_that_are_known(labels: str) -> None:
    with pytest.raises(BadParameter, match=r"knows no class .*; it knows knife, fork"):
        chosen(labels)


@pytest.mark.parametrize("labels", ["", " ", "knife,", ",knife", "knife,,fork"])
def test_empty_names_are_refused(labels: str) -> None:
    with pytest.raises(BadParameter, match="a name is empty"):
        chosen(labels)


def test_long_lists_are_read_quickly_enough_to_be_harmless() -> None:
    with pytest.raises(BadParameter, match="knows no class"):
        chosen(",".join(["x"] * 100_000))


@pytest.mark.parametrize("options", [{}, {"L": 24}, {"r": 2.0}])
def test_act_means_in_a_request_what_it_means_on_the_command_line(options: dict[str, float]) -> None:
    config = DetrConfig("x", ("a",), act_L=16, act_r=1.0, tangent_C=24)
    defaults = Defaults("exact", config.act_L, config.act_r, config.tangent_C, 0.5, 100, None, 1000.0, ("a",))
    text = ",".join(f"{name}={value}" for name, value in options.items())
    asked = wish(DetectQuery(attention="act", **options), defaults, 0.0).attention
    assert asked == config.attention(f"act:{text}") != AttentionConfig.act()
    assert wish(DetectQuery(attention="tangent"), defaults, 0.0).attention == config.attention("tangent")
