"""Masks of DETRs for segmentation, run by our own network and by transformers, against transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate

from models import AttentionConfig, Detector, load_detector
from models.detr.mask_head import QUERIES, MaskHead
from models.networks.network import NoMaskHead
from models.weights.errors import MismatchedWeights

transformers = pytest.importorskip("transformers")

NAMES = ["detr-segmentation", "detr-segmentation-learned"]
ENGINES = {"detr-segmentation": "act-detr", "detr-segmentation-learned": "transformers"}
CANVAS = {"height": 130, "width": 140}
EXACT = AttentionConfig.exact()
LIMITS = [AttentionConfig.act(8, 1e-4), AttentionConfig.tangent(4096)]
SAME = 1e-3
"""Of probabilities: as much as of boxes and scores."""

Images = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Saved:
    """A model for segmentation in a folder, and its image processor."""

    folder: Path
    detector: Detector

    @torch.inference_mode()
    def by_transformers(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities [Q, h, w] of all queries, best first, in cells that show the canvas."""
        model = transformers.DetrForSegmentation.from_pretrained(self.folder).eval()
        processor = transformers.DetrImageProcessorPil.from_pretrained(self.folder)
        output = model(**processor(images=image, return_tensors="pt"))
        order = output.logits.softmax(-1)[0, :, :-1].amax(-1).argsort(descending=True, stable=True)
        return output.pred_masks.sigmoid()[0, order].numpy()


@pytest.fixture(scope="module")
def segmenting(tmp_path_factory: pytest.TempPathFactory, saved: Callable[[str], Path]) -> Callable[..., Saved]:
    """Return a function of a name and of whether images are padded to a canvas; masks differ from query to query."""
    made: dict[tuple[str, bool], Saved] = {}

    def make(name: str, canvas: bool = False) -> Saved:
        if (name, canvas) not in made:
            folder = tmp_path_factory.mktemp(name)
            model = transformers.DetrForSegmentation.from_pretrained(saved(name))
            with torch.no_grad():
                model.mask_head.conv1.conv.weight[:, : model.config.d_model] *= 0.001  # what is not where a query looks
                for stage in model.mask_head.fpn_stages:
                    stage.fpn_adapter.weight *= 0.01  # the maps of random backbones would drown it
            model.save_pretrained(folder)
            size = {"shortest_edge": 96, "longest_edge": 128}
            pad = {"pad_size": CANVAS} if canvas else {}
            transformers.DetrImageProcessorPil(size=size, **pad).save_pretrained(folder)
            made[name, canvas] = Saved(folder, load_detector(str(folder), device="cpu", precision="fp32"))
        return made[name, canvas]

    return make


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_those_of_transformers_to_the_pixel(name: str, segmenting: Any, images: Images) -> None:
    model = segmenting(name)
    assert model.detector.family.engine == ENGINES[name]
    for image in images:
        detections = model.detector.detect(image, EXACT, masks=True).detections
        probabilities = model.by_transformers(image)
        assert detections.masks is not None
        assert len(detections) == len(detections.masks) == len(probabilities)
        assert np.abs(detections.masks.probabilities - probabilities).max() < SAME
        whole = interpolate(torch.from_numpy(probabilities)[None], size=image.shape[:2], mode="bilinear")[0].numpy()
        sure = np.abs(whole - 0.5) > SAME
        ours = np.stack(list(detections.masks))
        assert np.array_equal(ours[sure], whole[sure] > 0.5)
        assert sure.mean() > 0.9
        assert 0.02 < ours.mean() < 0.98
        assert (ours != ours[0]).mean() > 0.001


@pytest.mark.parametrize("name", NAMES)
def test_of_a_canvas_only_the_part_that_shows_the_image_counts(name: str, segmenting: Any, images: Images) -> None:
    """transformers' own post-processing would stretch the padding over the image: it is cut off first here."""
    model, image = segmenting(name, canvas=True), images[1][:, :80]
    prepared = model.detector.preprocess(image)
    height, width = prepared.pixels.shape[1:]
    assert (height, width) == image.shape[:2]  # so that the canvas has as many of the image's own pixels
    masks = model.detector.predict([prepared], EXACT, masks=True)[0].detections.masks
    probabilities = model.by_transformers(image)
    assert np.abs(masks.probabilities - probabilities).max() < SAME
    whole = interpolate(torch.from_numpy(probabilities)[None], size=tuple(CANVAS.values()), mode="bilinear")[0].numpy()
    near = whole[:, :height, :width]
    sure = np.abs(near - 0.5) > SAME
    assert np.array_equal(np.stack(list(masks))[sure], near[sure] > 0.5)
    assert sure.mean() > 0.9


@pytest.mark.parametrize("canvas", [False, True])
@pytest.mark.parametrize("attention", LIMITS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_clustered_attention_gives_the_masks_of_exact_attention_at_its_limit(
    name: str, attention: AttentionConfig, canvas: bool, segmenting: Any, images: Images
) -> None:
    detector = segmenting(name, canvas).detector
    exact, limit = (detector.detect(images[2], one, masks=True).detections.masks for one in (EXACT, attention))
    assert np.abs(exact.probabilities - limit.probabilities).max() < SAME
    few = detector.detect(images[2], AttentionConfig.kmeans(1), masks=True).detections.masks
    assert np.abs(exact.probabilities - few.probabilities).max() > SAME


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_made_of_the_detections_above_the_threshold_only(
    name: str, segmenting: Any, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = segmenting(name).detector
    every = detector.detect(images[0], EXACT, masks=True).detections
    threshold = float(every.scores[2])
    asked: list[int] = []
    forward = MaskHead.forward
    monkeypatch.setattr(MaskHead, "forward", lambda *args: (asked.append(len(args[2])), forward(*args))[1])
    best = detector.detect(images[0], EXACT, threshold, masks=True).detections
    assert asked == [len(best)] == [3]
    assert np.abs(best.masks.probabilities - every.masks.probabilities[:3]).max() < SAME
    none = detector.detect(images[0], EXACT, 1.0, masks=True).detections
    assert len(none) == len(none.masks) == 0
    chosen = best.select(labels={best.labels[1]}, nms=1.0)
    assert len(chosen.masks) == len(chosen) >= 1
    assert detector.detect(images[0], EXACT).detections.masks is None
    assert len(asked) == 2


@pytest.mark.parametrize("name", NAMES)
def test_images_with_masks_change_nothing_for_those_without(
    name: str, segmenting: Any, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = segmenting(name).detector
    prepared = [detector.preprocess(image) for image in (*images, images[0])]
    attention = AttentionConfig.tangent(4)
    wanted = [True, False, False, True, False]
    alone = [detector.predict([one], attention, masks=mask)[0] for one, mask in zip(prepared, wanted, strict=True)]
    for together in (
        detector.predict(prepared, attention, masks=wanted),
        detector._predict_together([(one, 0.0, mask) for one, mask in zip(prepared, wanted, strict=True)], attention),
    ):
        for one, other, mask in zip(alone, together, wanted, strict=True):
            assert np.abs(one.detections.boxes_xyxy - other.detections.boxes_xyxy).max() < SAME * 240
            assert (one.detections.masks is None) == (other.detections.masks is None) == (not mask)
            if mask:
                assert np.abs(one.detections.masks.probabilities - other.detections.masks.probabilities).max() < SAME
    with_masks, without = (detector.predict(prepared, attention, masks=masks) for masks in (True, False))
    for one, other in zip(with_masks, without, strict=True):
        assert np.array_equal(one.detections.boxes_xyxy, other.detections.boxes_xyxy)
        assert np.array_equal(one.detections.scores, other.detections.scores)
        assert one.attention == other.attention


def test_many_queries_take_several_turns(segmenting: Any, images: Images) -> None:
    detector = segmenting(NAMES[0]).detector
    output = detector.outputs([detector.preprocess(images[0])], EXACT, masks=True)
    with torch.inference_mode():
        many = detector.network.mask_head(output.segmentable[0], torch.arange(2 * QUERIES + 1) % 7)
        each = [detector.network.mask_head(output.segmentable[0], torch.tensor([i])) for i in range(7)]
    assert len(many) > 2 * QUERIES
    for i, one in enumerate(many):
        assert (one - each[i % 7][0]).abs().max() < 1e-3 * one.abs().max()


def test_weights_with_the_names_of_transformers_in_memory_are_read_too(
    segmenting: Any, images: Images, tmp_path: Path
) -> None:
    model = segmenting(NAMES[0])
    for file in model.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    memory = transformers.DetrForSegmentation.from_pretrained(model.folder).state_dict()
    assert "mask_head.fpn_stages.2.refine.norm.weight" in memory
    save_file({key: value.clone() for key, value in memory.items()}, tmp_path / "model.safetensors")
    renamed = load_detector(str(tmp_path), device="cpu", precision="fp32")
    one, other = (detector.detect(images[0], EXACT, masks=True) for detector in (model.detector, renamed))
    assert np.array_equal(one.detections.masks.probabilities, other.detections.masks.probabilities)


@pytest.mark.parametrize("name", NAMES)
def test_a_head_that_lacks_weights_is_refused_and_none_at_all_gives_boxes_only(
    name: str, segmenting: Any, images: Images, tmp_path: Path
) -> None:
    folder = segmenting(name).folder
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(folder / "model.safetensors")
    without = {key: value for key, value in state.items() if "mask_head" not in key}
    save_file(without, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MismatchedWeights, match="mask_head"):
        load_detector(str(tmp_path), device="cpu")
    save_file(
        {key: value for key, value in without.items() if "bbox_attention" not in key},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    detector = load_detector(str(tmp_path), device="cpu")
    assert detector.mask_refusal is not None
    assert len(detector.detect(images[0], EXACT).detections) == 7
    with pytest.raises(NoMaskHead, match="gives no masks: a DETR for segmentation does"):
        detector.detect(images[0], EXACT, masks=True)


def test_masks_of_tiles_are_refused(segmenting: Any, images: Images) -> None:
    with pytest.raises(ValueError, match="tiles and masks"):
        segmenting(NAMES[0]).detector.detect(images[0], EXACT, tiles="1x2", masks=True)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gives_about_the_same_masks(name: str, segmenting: Any, images: Images) -> None:
    model = segmenting(name)
    half = load_detector(str(model.folder), device="cpu", precision="bf16").detect(images[0], EXACT, masks=True)
    full = model.detector.detect(images[0], EXACT, masks=True)
    areas = [np.mean(list(one.detections.masks)) for one in (half, full)]
    assert abs(areas[0] - areas[1]) < 0.1
