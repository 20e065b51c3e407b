"""What training starts from, and what becomes of the class head."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import PAGE_LABELS, BoxRefinementConfig, pages_small
from models.detector import Detector
from models.resizing import Resizing
from models.training.objective.training_detr import TrainingDetr
from models.training.starting_point import (
    StartingPoint,
    relabelled,
    starting_point,
    with_box_refinement,
    without_box_refinement,
)
from models.weights import UnknownModel, load_strict, save_checkpoint


@pytest.fixture
def start(tiny_detr) -> StartingPoint:
    return StartingPoint(tiny_detr.config, tiny_detr.state_dict())


def test_the_same_labels_change_nothing(start):
    assert relabelled(start, PAGE_LABELS) is start
    assert relabelled(start, tuple(reversed(PAGE_LABELS))) is start


def test_other_labels_get_a_head_that_keeps_what_it_can(start):
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


def test_images_are_resized_as_training_does_on_the_canvas_that_the_model_knows(tiny_detr, tmp_path):
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
    anew = replace(start, learn_norms=True)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in anew.detr().modules())
    anew.fill(TrainingDetr(anew.detr(), 0, 1, dense=False))


def test_a_checkpoint_of_the_first_kind_brings_its_averages_and_its_training_parts(tmp_path):
    torch.manual_seed(0)
    plain = replace(pages_small(), box_refinement=None)  # the first ones had none
    learnt = TrainingDetr(StartingPoint(plain, None).detr(), 6, 2, dense=True)
    averaged = {f"module.{key}": value + 1 for key, value in learnt.detr.state_dict().items()}
    path = tmp_path / "checkpoint.pt"
    torch.save({"step": 3, "model": learnt.state_dict(), "averaged": averaged, "optimizer": {}}, path)
    model = TrainingDetr(StartingPoint(plain, {}).detr(), 6, 2, dense=True)
    starting_point(str(path)).fill(model)
    assert torch.equal(model.detr.query_embed.weight, learnt.detr.query_embed.weight + 1)
    assert torch.equal(model.extra_embed.weight, learnt.extra_embed.weight)
    assert torch.equal(model.dense_head.class_embed.weight, learnt.dense_head.class_embed.weight)
    other = TrainingDetr(StartingPoint(plain, {}).detr(), 9, 2, dense=False)
    starting_point(str(path)).fill(other)  # parts that do not fit stay as they are


def test_whatever_can_be_served_can_be_trained_on(tiny_detr, tmp_path):
    save_checkpoint(tmp_path / "tiny.safetensors", tiny_detr.state_dict(), tiny_detr.config)
    found = starting_point(str(tmp_path / "tiny.safetensors"))
    assert found.config == tiny_detr.config
    assert torch.equal(found.weights["query_embed.weight"], tiny_detr.query_embed.weight)


def test_unknown_models_are_named():
    with pytest.raises(UnknownModel, match="nothing-here"):
        starting_point("nothing-here")
    with pytest.raises(KeyError, match="nothing-here"):
        starting_point("nothing-here:scratch")


def test_a_model_is_given_a_box_refinement_that_moves_nothing(tiny_detr):
    plain = StartingPoint(tiny_detr.config, tiny_detr.state_dict())
    refining = with_box_refinement(plain)
    assert refining.config == replace(tiny_detr.config, box_refinement=BoxRefinementConfig())
    assert {key for key in refining.weights if key not in plain.weights} > {"box_refinement.fine.weight"}
    assert with_box_refinement(refining) is refining
    again = without_box_refinement(refining)
    assert again.config == plain.config
    assert again.weights.keys() == plain.weights.keys()
    detr = refining.detr().eval()
    load_strict(detr, refining.weights)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    with_it, without = (Detector(model).detect(image).detections for model in (detr, tiny_detr))
    assert np.allclose(with_it.boxes_xyxy, without.boxes_xyxy, atol=1e-3)
