"""A checkpoint holds all that the next step depends on."""

import pytest
import torch

from models.training.data.page_stream import PageStream
from models.training.export import export
from models.training.plan.curriculum import Curriculum
from models.training.plan.recipe import Hybrid, Recipe
from models.training.starting_point import StartingPoint, starting_point, with_box_refinement
from models.training.trainer import Trainer
from models.training.training_state import TrainingState, read_state, resting_point, warmed_up
from models.weights import resolve

CPU = torch.device("cpu")
STAGES = Curriculum.parse("6:64-80")


def recipe(**changed):
    return Recipe("tiny", "pages", 6, batch_size=2, stages=STAGES, **changed)


def losses(state, last):
    trainer = Trainer(state, CPU)
    found = []
    for step in range(state.step, last):
        found.append(trainer.update(PageStream(STAGES, 2).batch(step)).total.item())
        state.step += 1
    return found


@pytest.mark.parametrize(("scratch", "optimizer"), [(True, "adamw"), (False, "adamw"), (True, "muon")])
def test_a_run_goes_on_as_if_it_had_not_stopped(tiny_detr, tmp_path, scratch, optimizer):
    start = StartingPoint(tiny_detr.config, None if scratch else tiny_detr.state_dict())
    plan = recipe(hybrid=Hybrid(8, 2), optimizer=optimizer)
    whole = TrainingState(start, plan, CPU)
    expected = losses(whole, 6)
    stopped = TrainingState(start, plan, CPU)
    losses(stopped, 3)
    stopped.best = 0.25
    stopped.save(tmp_path / "checkpoint.pt")
    saved = read_state(tmp_path / "checkpoint.pt")
    resumed = TrainingState(resting_point(saved), plan, CPU)
    resumed.load(saved)
    assert (resumed.step, resumed.best) == (3, 0.25)
    assert losses(resumed, 6) == expected[3:]
    ours, theirs = resumed.averaged.state_dict(), whole.averaged.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_refining_goes_on_as_if_it_had_not_stopped(tiny_detr, tmp_path):
    start = with_box_refinement(StartingPoint(tiny_detr.config, tiny_detr.state_dict()))
    plan = recipe(refine_boxes=True, learning_rate=1e-3)
    expected = losses(TrainingState(start, plan, CPU), 6)
    stopped = TrainingState(start, plan, CPU)
    losses(stopped, 3)
    stopped.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(99)  # what is drawn, which attention and what noise, must come from the checkpoint
    saved = read_state(tmp_path / "checkpoint.pt")
    resumed = TrainingState(resting_point(saved), plan, CPU)
    resumed.load(saved)
    assert losses(resumed, 6) == expected[3:]
    assert len(set(expected)) == 6


def test_what_was_never_trained_has_no_boxes_to_refine(tiny_config):
    with pytest.raises(ValueError, match="no boxes to refine"):
        TrainingState(StartingPoint(tiny_config, None), recipe(refine_boxes=True), CPU)


def test_other_training_leaves_the_box_refinement_alone(tiny_detr):
    start = with_box_refinement(StartingPoint(tiny_detr.config, tiny_detr.state_dict()))
    state = TrainingState(start, recipe(), CPU)
    before = {name: value.clone() for name, value in state.model.detr.state_dict().items()}
    losses(state, 2)
    after = state.model.detr.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept >= {name for name in before if name.startswith("box_refinement.")}
    assert "query_embed.weight" not in kept


def test_norms_that_learn_go_on_learning_after_a_stop(tiny_detr, tmp_path):
    start = StartingPoint(tiny_detr.config, tiny_detr.state_dict(), learn_norms=True)
    plan = recipe(learn_norms=True)
    expected = losses(TrainingState(start, plan, CPU), 4)
    stopped = TrainingState(start, plan, CPU)
    losses(stopped, 2)
    stopped.save(tmp_path / "checkpoint.pt")
    saved = read_state(tmp_path / "checkpoint.pt")
    resumed = TrainingState(resting_point(saved), plan, CPU)
    resumed.load(saved)
    assert losses(resumed, 4) == expected[2:]
    means = [value for name, value in resumed.averaged_detr().state_dict().items() if name.endswith("running_mean")]
    before = [value for name, value in tiny_detr.state_dict().items() if name.endswith("running_mean")]
    assert not any(torch.equal(mean, old) for mean, old in zip(means, before, strict=True))


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


def test_nothing_but_the_checkpoint_is_left_in_the_folder(tiny_config, tmp_path):
    TrainingState(StartingPoint(tiny_config, None), recipe(), CPU).save(tmp_path / "checkpoint.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_the_exported_model_is_the_averaged_one_without_training_parts(tiny_config, tmp_path):
    state = TrainingState(StartingPoint(tiny_config, None), recipe(hybrid=Hybrid(8, 2)), CPU)
    losses(state, 2)
    state.save(tmp_path / "checkpoint.pt")
    state.export(tmp_path / "model.safetensors")
    export(tmp_path / "checkpoint.pt", tmp_path / "cut.safetensors")
    averaged = state.averaged_detr().state_dict()
    for name in ("model.safetensors", "cut.safetensors"):
        loaded = resolve(str(tmp_path / name))
        assert loaded.config == tiny_config
        assert set(loaded.state_dict) == {key for key in averaged if not key.endswith("num_batches_tracked")}
        assert all(torch.equal(loaded.state_dict[key], averaged[key]) for key in loaded.state_dict)
    assert starting_point(str(tmp_path / "checkpoint.pt")).config == tiny_config


def test_damaged_and_older_checkpoints_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match="cannot go on"):
        read_state(path)
    torch.save({"step": 1, "model": {}, "averaged": {}, "optimizer": {}}, path)
    with pytest.raises(ValueError, match="older kind"):
        read_state(path)
