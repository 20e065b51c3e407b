from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import BoxRefinementConfig
from models.detector import Detector
from models.named_models import PAGE_LABELS, pages_small
from models.resizing import Resizing
from models.training.objective.training_detr import TrainingDetr
from models.training.plan.recipe import Hybrid, Recipe
from models.training.starting_point import (
    relabelled,
    starting_point,
    with_box_refinement,
    without_box_refinement,
)
from models.training.training_state import TrainingState
from models.weights import UnknownModel, load_strict, save_checkpoint


def test_the_same_labels_change_nothing(start):
    assert relabelled(start, PAGE_LABELS) is start
    assert relabelled(start, tuple(reversed(PAGE_LABELS))) is start


def test_other_labels_get_a_head_that_keeps_the_known_classes(start):
    fitted = relabelled(start, ("stamp", "table"))
    assert fitted.config.labels == ("stamp", "table")
    for key, rows in (("class_embed.weight", 3), ("class_embed.bias", 3)):
        new, old = fitted.weights[key], start.weights[key]
        assert len(new) == rows
        assert torch.equal(new[1], old[PAGE_LABELS.index("table")])
        assert torch.equal(new[2], old[len(PAGE_LABELS)])  # no-object
        assert not any(torch.equal(new[0], row) for row in old)
    kept = [key for key in start.weights if not key.startswith("class_embed")]
    assert all(torch.equal(fitted.weights[key], start.weights[key]) for key in kept)
    fitted.fill(TrainingDetr(fitted.detr(), 0, 1, dense=False))


def test_training_resizes_by_sides_and_keeps_the_models_canvas(tiny_detr, tmp_path):
    config = replace(tiny_detr.config, resizing=Resizing("exact", (64, 96), (100, 110)))
    save_checkpoint(tmp_path / "tuned.safetensors", tiny_detr.state_dict(), config)
    start = starting_point(str(tmp_path / "tuned.safetensors"))
    assert start.config == replace(config, resizing=Resizing("sides", None, (100, 110)))
    assert relabelled(start, ("stamp",)).config.resizing == start.config.resizing


def test_unused_ids_are_no_labels(start):
    unused = replace(start, config=replace(start.config, labels=(*PAGE_LABELS, None)))
    assert relabelled(unused, PAGE_LABELS) is unused


def test_from_nothing_learns_norms_and_fine_tuning_does_not(start):
    learnt = starting_point("pages-small:scratch")
    assert learnt.weights is None
    assert learnt.config == pages_small()
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in learnt.detr().modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in start.detr().modules())
    again = replace(start, learn_norms=True)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in again.detr().modules())
    again.fill(TrainingDetr(again.detr(), 0, 1, dense=False))


def test_a_checkpoint_brings_its_averages_and_the_training_parts_that_fit(start, tmp_path):
    recipe = Recipe("tiny", "pages", 1, hybrid=Hybrid(6, 2))
    state = TrainingState(start, recipe, torch.device("cpu"))
    with torch.no_grad():
        for value in state.averaged_detr().parameters():
            value.add_(1)
    path = tmp_path / "checkpoint.pt"
    state.save(path)
    model, other = (TrainingDetr(start.detr(), queries, 2, dense) for queries, dense in ((6, True), (9, False)))
    starting_point(str(path)).fill(model)
    assert starting_point(str(path)).config == start.config
    learnt = state.model
    assert torch.equal(model.detr.query_embed.weight, learnt.detr.query_embed.weight + 1)
    assert torch.equal(model.extra_embed.weight, learnt.extra_embed.weight)
    assert torch.equal(model.dense_head.class_embed.weight, learnt.dense_head.class_embed.weight)
    starting_point(str(path)).fill(other)  # parts that do not fit stay as they are


def test_whatever_can_be_served_can_be_trained_on(tiny_detr, tiny_file):
    found = starting_point(str(tiny_file))
    assert found.config == tiny_detr.config
    assert torch.equal(found.weights["query_embed.weight"], tiny_detr.query_embed.weight)


def test_unknown_models_are_named():
    with pytest.raises(UnknownModel, match="nothing-here"):
        starting_point("nothing-here")
    with pytest.raises(KeyError, match="nothing-here"):
        starting_point("nothing-here:scratch")


def test_a_model_is_given_a_box_refinement_that_moves_nothing(tiny_detr, start):
    refining = with_box_refinement(start)
    assert refining.config == replace(tiny_detr.config, box_refinement=BoxRefinementConfig())
    assert {key for key in refining.weights if key not in start.weights} > {"box_refinement.fine.weight"}
    assert with_box_refinement(refining) is refining
    again = without_box_refinement(refining)
    assert again.config == start.config
    assert again.weights.keys() == start.weights.keys()
    detr = refining.detr().eval()
    load_strict(detr, refining.weights)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with_it, without = (Detector(model).detect(image).detections for model in (detr, tiny_detr))
    assert np.allclose(with_it.boxes_xyxy, without.boxes_xyxy, atol=1e-3)
