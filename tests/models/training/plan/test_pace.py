import pytest
import torch

from models.training.data.page_stream import PageStream
from models.training.plan.curriculum import Curriculum
from models.training.plan.pace import Cost, Pace, pace
from models.training.plan.recipe import Recipe
from models.training.starting_point import StartingPoint

COST = Cost(Pace((0.5, 1.0), (0.6, 0.4)), Pace((1.0,), (1.0,)), validation=5.0, preparation=10.0)


def test_the_mean_is_over_the_steps():
    assert COST.run.mean == pytest.approx(0.7)


def test_the_steps_that_fit_take_the_time_given():
    steps = COST.steps_within(3600, 0.15, 12)
    assert COST.seconds(steps, round(0.15 * steps), 12) == pytest.approx(3600, rel=0.01)
    assert COST.steps_within(3600, 0.0, 0) > steps
    assert COST.steps_within(1, 0.15, 12) == 1


def test_without_refinement_it_costs_nothing():
    plain = Cost(COST.run, None, 0.0, 0.0)
    assert plain.seconds(100, 0, 12) == pytest.approx(70 * 1.05)


def test_every_stage_is_timed_and_the_model_stays_as_it_is(tiny_detr):
    stages = Curriculum.parse("6:64-64,2:96-96")
    recipe = Recipe("tiny", "pages", 8, batch_size=2, stages=stages)
    start = StartingPoint(tiny_detr.config, tiny_detr.state_dict())
    before = {key: value.clone() for key, value in start.weights.items()}
    found = pace(start, recipe, PageStream(stages, 2), torch.device("cpu"), workers=0)
    assert found.shares == (0.75, 0.25)
    assert len(found.seconds) == 2
    assert all(seconds > 0 for seconds in found.seconds)
    assert all(torch.equal(before[key], value) for key, value in start.weights.items())
