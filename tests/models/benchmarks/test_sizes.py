from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.benchmarks import sizes as benchmark
from models.benchmarks.sizes import Outcome, Rule, Run, held_out_gains, outcomes, worth_a_look
from models.data.coco import GroundTruth
from models.detections import Detections


def run(score: float, side: float, milliseconds: float = 10.0, scale: float = 0.5) -> Run:
    boxes = np.array([[10, 10, 10 + 4 * side, 10 + side]], np.float32)
    return Run(Detections(boxes, np.array([score], np.float32), ("text",)), milliseconds, 100, scale)


@pytest.mark.parametrize(
    ("rule", "score", "side", "again"),
    [
        (Rule(8, None), 0.9, 14, True),  # 7 pixels of the resized image
        (Rule(8, None), 0.9, 18, False),
        (Rule(8, None), 0.1, 14, False),
        (Rule(0, (0.2, 0.6)), 0.3, 99, True),
        (Rule(0, (0.2, 0.6)), 0.6, 1, False),
        (Rule(0, (0.2, 0.6)), 0.1, 1, False),
        (Rule(8, (0.2, 0.6)), 0.3, 99, True),
        (Rule(8, (0.2, 0.6), least=2), 0.3, 14, False),
    ],
)
def test_a_rule_calls_for_more_where_a_box_is_small_or_a_score_doubtful(
    rule: Rule, score: float, side: float, again: bool
) -> None:
    assert rule.again(run(score, side)) is again


def test_a_rule_costs_the_small_size_always_and_the_large_one_where_it_repeats() -> None:
    truths = [GroundTruth(run(1, 40).detections.boxes_xyxy, ("text",))] * 2
    wrong = Run(Detections(np.zeros((1, 4), np.float32), np.array([0.3], np.float32), ("text",)), 10, 100, 0.5)
    runs = {300: [wrong, run(0.9, 40)], 600: [run(0.9, 40, 40), run(0.9, 40, 40)]}
    small, large, ruled = outcomes(runs, truths, [Rule(0, (0.2, 0.6))])
    assert (small.milliseconds, large.milliseconds, ruled.milliseconds) == (10, 40, 30)
    assert (ruled.repeated, ruled.small, ruled.large) == (0.5, 300, 600)
    assert small.ap < large.ap == ruled.ap == pytest.approx(1)
    assert worth_a_look([small, large, ruled]) == [ruled]
    assert worth_a_look([small, replace(large, milliseconds=30), ruled]) == []
    assert ruled.gain([small, large]) == pytest.approx(large.ap - (small.ap + (large.ap - small.ap) * 2 / 3))


def test_a_rule_is_chosen_on_one_half_and_scored_on_the_other() -> None:
    truths = [GroundTruth(run(1, 40).detections.boxes_xyxy, ("text",))] * 8
    wrong = Run(Detections(np.zeros((1, 4), np.float32), np.array([0.3], np.float32), ("text",)), 10, 100, 0.5)
    right, slow = run(0.9, 40), run(0.9, 40, 40)
    rules = [Rule(0, (0.2, 0.6)), Rule(0, (0.8, 1))]
    sound = held_out_gains({300: [wrong, wrong, *[right] * 6], 600: [slow] * 8}, truths, rules)
    assert min(sound) > 0
    misled = held_out_gains({300: [wrong, right] * 4, 600: [slow] * 8}, truths, [Rule(0, (0.2, 0.25)), *rules])
    assert len(misled) == 2


def test_sizes_that_are_slower_and_worse_are_no_alternative() -> None:
    def fixed(ap: float, milliseconds: float) -> Outcome:
        return Outcome(1, 1, None, ap, milliseconds, 0.0)

    sizes = [fixed(0.5, 10), fixed(0.4, 20), fixed(0.7, 30)]
    assert fixed(0.65, 20).gain(sizes) == pytest.approx(0.05)
    assert fixed(0.65, 40).gain(sizes) == pytest.approx(-0.05)


def test_benchmark_writes_fixed_sizes_and_rules(run_benchmark) -> None:
    results = run_benchmark(benchmark, "--data", "journals:1", "--sizes", "160", "224")
    fixed = [one for one in results["outcomes"] if one["rule"] is None]
    assert [one["small"] for one in fixed] == [160, 224]
    assert results["tokens"]["160"] < results["tokens"]["224"]
    rules = [one for one in results["outcomes"] if one["rule"]]
    assert all(one["milliseconds"] >= fixed[0]["milliseconds"] for one in rules)
