from dataclasses import replace

import pytest
import torch
from torch import nn

from models.data.coco_files import training_files
from models.detr.frozen_batch_norm import FrozenBatchNorm2d
from models.images import ImageBatch
from models.preprocess import normalise
from models.training.data.augmentations import StepAugmentations
from models.training.data.coco_dataset import CocoDataset
from models.training.data.coco_stream import CocoStream
from models.training.plan.survey import FAR, Survey, feature_shift, survey_of
from models.training.starting_point import StartingPoint


@pytest.fixture(scope="module")
def stream(tmp_path_factory, write_coco, tiny_config):
    folder = tmp_path_factory.mktemp("animals")
    write_coco(folder / "_annotations.coco.json", folder, count=9)
    return CocoStream(CocoDataset.read(training_files(folder)), 4, 0, StepAugmentations(tiny_config))


@pytest.fixture
def at_home(tiny_detr, stream) -> StartingPoint:
    """A model whose batch norms know just what it makes of the stream's first images."""
    norms = {name: each for name, each in tiny_detr.backbone.named_modules() if isinstance(each, FrozenBatchNorm2d)}
    for name, norm in norms.items():  # one after the other: each depends on those before it
        inputs = []
        hook = norm.register_forward_pre_hook(lambda _, given, inputs=inputs: inputs.append(given[0]))
        with torch.no_grad():
            for stack in stacks(stream, tiny_detr.config):
                tiny_detr.backbone(stack)
        hook.remove()
        norm.running_mean.copy_(torch.stack([values.mean((0, 2, 3)) for values in inputs]).mean(0))
        norm.running_var.copy_(torch.cat([values.flatten(2) for values in inputs], 2).var((0, 2)) + 0.1)
        assert name
    return StartingPoint(tiny_detr.config, tiny_detr.state_dict())


def stacks(stream, config):
    for step in range(4):
        yield from ImageBatch.from_images([normalise(image, config) for image in stream.batch(step).images]).stacks


def test_features_of_known_images_do_not_shift_and_those_of_others_do(at_home, stream):
    batches = [stream.batch(step) for step in range(4)]
    assert feature_shift(at_home, batches) < 0.02
    inverted = [replace(batch, images=tuple(255 - image for image in batch.images)) for batch in batches]
    assert feature_shift(at_home, inverted) > FAR


def test_a_model_that_learns_its_norms_is_looked_at_alike(at_home, stream):
    learning = replace(at_home, learn_norms=True)
    assert any(isinstance(module, nn.BatchNorm2d) for module in learning.detr().modules())
    batches = [stream.batch(0)]
    assert feature_shift(learning, batches) == pytest.approx(feature_shift(at_home, batches), rel=1e-4)


def test_a_model_without_weights_has_nothing_to_compare_with(tiny_config, stream):
    assert feature_shift(StartingPoint(tiny_config, None), [stream.batch(0)]) is None
    assert not Survey(9, (), None, 9).far


def test_a_survey_counts_images_and_their_objects(at_home, stream):
    batches = [stream.batch(0)]
    survey = survey_of(stream.dataset, batches, at_home, ("cat", "dog"))
    assert (survey.images, survey.new_classes, survey.queries, survey.refines_boxes) == (9, ("cat", "dog"), 9, False)
    assert (survey.max_objects, survey.crowded) == (8, 0)
    assert survey.warnings() == []
    few = replace(at_home, config=replace(at_home.config, queries=6))
    few.weights["query_embed.weight"] = at_home.weights["query_embed.weight"][:6]
    crowded = survey_of(stream.dataset, batches, few, ())
    assert crowded.crowded == 2
    assert "2 images have more objects (up to 8)" in crowded.warnings()[0]
    assert "6 queries" in crowded.warnings()[0]
