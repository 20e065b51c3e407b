"""A checkpoint holds all that the next step depends on."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from models.training.data.page_stream import PageStream
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe
from models.training.starting_point import StartingPoint, with_box_refinement
from models.training.trainer import Trainer
from models.training.training_state import TrainingState, read_state, starting_point_from_checkpoint, warmed_up
from models.weights import resolve

CPU = torch.device("cpu")
STAGES = Curriculum.parse("6:64-80")


def recipe(**changed):
    return Recipe("tiny", "pages", 6, batch_size=2, stages=STAGES, **changed)


def losses(state, last):
    made = islice(Trainer(state, CPU).steps(PageStream(STAGES, 2), 0), last - state.step)
    return [losses.total.item() for losses in made]


def resumed(state, plan, folder):
    """A state that was saved, and read in a process that has drawn other random numbers since."""
    state.save(folder / "checkpoint.pt")
    torch.manual_seed(99)
    saved = read_state(folder / "checkpoint.pt")
    read = TrainingState(starting_point_from_checkpoint(saved), plan, CPU)
    read.load(saved)
    return read


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        ({"weights": None}, {"hybrid": Hybrid(8, 2)}),
        ({}, {"hybrid": Hybrid(8, 2)}),
        ({}, {"hybrid": Hybrid(8, 2), "optimizer": "muon"}),
        ({"learn_norms": True}, {"learn_norms": True}),
        ({}, {"refine_boxes": True, "learning_rate": 1e-3}),
    ],
    ids=["from scratch", "adamw", "muon", "learning norms", "refining"],
)
def test_a_resumed_run_is_as_one_that_was_not_stopped(start, tmp_path, changed, settings):
    plan = recipe(**settings)
    start = with_box_refinement(start) if plan.refine_boxes else replace(start, **changed)
    whole = TrainingState(start, plan, CPU)
    expected = losses(whole, 6)
    stopped = TrainingState(start, plan, CPU)
    losses(stopped, 3)
    stopped.best = 0.25
    state = resumed(stopped, plan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (state.step, state.best) == (3, 0.25)
    assert losses(state, 6) == expected[3:]
    assert len(set(expected)) == 6
    ours, theirs = state.averaged.state_dict(), whole.averaged.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    if plan.learn_norms:
        means = [name for name in start.weights if name.endswith("running_mean")]
        assert not any(torch.equal(state.averaged_detr().state_dict()[name], start.weights[name]) for name in means)


def test_a_model_without_weights_has_no_boxes_to_refine(tiny_config):
    with pytest.raises(ValueError, match="no boxes to refine"):
        TrainingState(StartingPoint(tiny_config, None), recipe(refine_boxes=True), CPU)


def test_other_training_leaves_the_box_refinement_as_it_is(start):
    state = TrainingState(with_box_refinement(start), recipe(), CPU)
    before = {name: value.clone() for name, value in state.model.detr.state_dict().items()}
    losses(state, 2)
    after = state.model.detr.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept >= {name for name in before if name.startswith("box_refinement.")}
    assert "query_embed.weight" not in kept


@pytest.mark.parametrize("steps", [20, 700])
def test_averages_forget_what_the_run_began_with(steps):
    """With a decay of 0.999 from the first step on, half of the start would be left after 700 steps."""
    update = warmed_up(0.999)
    mean = torch.zeros(3)
    for made in range(1, steps):
        update([mean], [torch.ones(3)], torch.tensor(made))
    assert mean.min() > 0.999


def test_averages_come_to_the_decay_that_was_asked_for():
    update, mean = warmed_up(0.9), torch.zeros(3, dtype=torch.float64)
    update([mean], [torch.ones(3, dtype=torch.float64)], torch.tensor(10_000))
    torch.testing.assert_close(mean, torch.full_like(mean, 0.1))
    counter = torch.tensor(3)
    update([counter], [torch.tensor(4)], torch.tensor(5))
    assert int(counter) == 4


def test_the_exported_model_is_the_averaged_one_without_training_parts(tiny_config, tmp_path):
    state = TrainingState(StartingPoint(tiny_config, None), recipe(hybrid=Hybrid(8, 2)), CPU)
    losses(state, 2)
    state.export(tmp_path / "model.safetensors")
    averaged = state.averaged_detr().state_dict()
    loaded = resolve(str(tmp_path / "model.safetensors"))
    assert loaded.config == tiny_config
    assert set(loaded.state_dict) == {key for key in averaged if not key.endswith("num_batches_tracked")}
    assert all(torch.equal(loaded.state_dict[key], averaged[key]) for key in loaded.state_dict)


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", None])
def test_a_damaged_or_other_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    if content is None:
        torch.save({"step": 1, "model": {}, "averaged": {}, "optimizer": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot go on with .*checkpoint\.pt"):
        read_state(path)
