from __future__ import annotations

from deploy.loadtest.turns import Ratio, in_turns


def test_the_ratio_is_the_median_of_the_rounds_not_the_ratio_of_medians() -> None:
    ratio = Ratio.of([(10.0, 11.0), (20.0, 10.0), (30.0, 30.0)])
    assert (ratio.ratio, ratio.least, ratio.greatest) == (1, 0.5, 1.1)


def test_each_service_is_first_in_every_second_round_and_stays_on_its_side() -> None:
    called: list[str] = []

    def turn(service: str) -> str:
        called.append(service)
        return f"figure of {service}"

    rounds = in_turns(("a", "b"), turn, 3)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert rounds == [("figure of a", "figure of b")] * 3
