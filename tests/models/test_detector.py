import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import AttentionConfig, Detector, load_detector
from models.config import BoxRefinementConfig
from models.detr.detr import Detr
from models.tiles.merging import merged
from models.tiles.tiling import Tiling
from models.weights import WeightsError, save_checkpoint

SIZES = [(70, 50), (64, 64), (33, 120), (1, 1), (1, 300), (70, 50)]


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]


SHARES = [0, 0.5, 0.8, 0.2, 1, 0.3]
ATTENTIONS = [AttentionConfig.exact(), AttentionConfig.act(8, 2.0), AttentionConfig.act()]
MERGING = [AttentionConfig.merge(0.5), AttentionConfig.merge(0.75, C=3)]


@pytest.mark.parametrize("attention", [*ATTENTIONS, *MERGING], ids=str)
def test_results_are_bit_identical_in_any_batch(detector, images, attention):
    together = detector.predict([detector.preprocess(image) for image in images], attention)
    for image, prediction in zip(images, together, strict=True):
        single = detector.detect(image, attention)
        assert np.array_equal(single.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert np.array_equal(single.detections.scores, prediction.detections.scores)
        assert single.detections.labels == prediction.detections.labels
        assert single.attention == prediction.attention


def test_attention_switches_per_call_on_the_same_weights(detector, images):
    before = copy.deepcopy(detector.detr.state_dict())
    exact, act, again = (detector.detect(images[0], attention) for attention in (*ATTENTIONS[:2], ATTENTIONS[0]))
    assert np.array_equal(exact.detections.scores, again.detections.scores)
    assert not np.array_equal(exact.detections.scores, act.detections.scores)
    after = detector.detr.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_boxes_are_pixels_of_the_original_image(detector, images):
    for image in images:
        boxes = detector.detect(image).detections.boxes_xyxy
        height, width = image.shape[:2]
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_reports_count_what_ran(detector, images):
    exact, act = (detector.detect(images[0], attention).attention for attention in ATTENTIONS[:2])
    assert exact.clusters == ()
    assert exact.encoder_gflops == exact.exact_encoder_gflops == act.exact_encoder_gflops
    assert exact.tokens == detector.tokens(detector.preprocess(images[0])) == 8 * 12
    assert [layer.layer for layer in act.clusters] == [0, 1]
    for layer in act.clusters:
        assert 1 <= layer.min <= layer.mean <= layer.max <= act.tokens
    fine = detector.detect(images[0], AttentionConfig.act(8, 1e-4)).attention
    assert all(layer.min == layer.max == fine.tokens for layer in fine.clusters)
    assert fine.encoder_gflops > fine.exact_encoder_gflops  # hashing came on top, and is said


def test_reports_say_what_is_left_after_merging(detector, images):
    half, clustered = (detector.detect(images[0], attention).attention for attention in MERGING)
    assert (half.tokens, half.merged_tokens, half.clusters) == (96, 48, ())
    assert half.encoder_gflops < half.exact_encoder_gflops / 2
    assert (clustered.tokens, clustered.merged_tokens) == (96, 24)
    assert [layer.layer for layer in clustered.clusters] == [0, 1]
    assert all(1 <= layer.max <= 3 for layer in clustered.clusters)
    assert detector.detect(images[0]).attention.merged_tokens is None


def test_masks_and_boxes_are_of_all_tokens_after_merging_nothing(detector, images):
    exact, merged = (detector.detect(images[1], one).detections for one in (ATTENTIONS[0], AttentionConfig.merge(0)))
    np.testing.assert_allclose(merged.scores, exact.scores, atol=1e-4)
    np.testing.assert_allclose(merged.boxes_xyxy, exact.boxes_xyxy, atol=1e-2)


def test_each_image_has_its_own_threshold(detector, images):
    prepared = [detector.preprocess(image) for image in images]
    every = detector.predict(prepared, ATTENTIONS[0])
    thresholds = [float(np.quantile(one.detections.scores, share)) for one, share in zip(every, SHARES, strict=True)]
    some = detector.predict(prepared, ATTENTIONS[0], thresholds)
    for threshold, selected, whole in zip(thresholds, some, every, strict=True):
        expected = whole.detections.select(threshold)
        assert selected.detections.labels == expected.labels
        assert np.array_equal(selected.detections.scores, expected.scores)
        assert np.array_equal(selected.detections.boxes_xyxy, expected.boxes_xyxy)
        assert selected.attention == whole.attention
    assert len({len(selected.detections) for selected in some}) > 2
    assert detector.detect(images[1], ATTENTIONS[0], thresholds[1]).detections.labels == some[1].detections.labels


def test_as_many_thresholds_as_images(detector, images):
    with pytest.raises(ValueError, match="argument"):
        detector.predict([detector.preprocess(images[0])], ATTENTIONS[0], [0.5, 0.5])


def test_no_images_no_predictions(detector):
    assert detector.predict([], AttentionConfig.exact()) == []


def test_an_unknown_device_or_precision_is_refused():
    with pytest.raises(ValueError, match="device must be"):
        load_detector(device="tpu")
    with pytest.raises(ValueError, match="precision must be"):
        load_detector(precision="int3")


def test_a_file_becomes_a_detector(tiny_detr, images, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, tiny_detr.state_dict(), tiny_detr.config)
    loaded = load_detector(str(path), device="cpu")
    assert loaded.config == tiny_detr.config
    expected = Detector(tiny_detr).detect(images[0])
    assert np.array_equal(loaded.detect(images[0]).detections.scores, expected.detections.scores)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(WeightsError, match="pages-small"):
        load_detector("no-such-model", device="cpu")


def test_warm_up_and_check(detector):
    assert detector.warm_up() == 4
    detector.check()
    assert detector.memory_bytes() == 0
    assert detector.memory_limit_bytes() == 0


@pytest.mark.half
def test_bf16_runs_close_to_fp32(tiny_detr, images):
    fp32 = Detector(copy.deepcopy(tiny_detr)).detect(images[0])
    bf16 = Detector(tiny_detr, precision="bf16").detect(images[0])
    np.testing.assert_allclose(bf16.detections.scores, fp32.detections.scores, atol=0.1)


def test_without_box_refinement_the_decoder_boxes_come_back(tiny_detr):
    torch.manual_seed(0)
    refining = Detr(replace(tiny_detr.config, box_refinement=BoxRefinementConfig())).eval()
    refining.load_state_dict(tiny_detr.state_dict(), strict=False)
    for stage in refining.box_refinement.stages:
        torch.nn.init.normal_(stage.place.weight)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    detector, single = Detector(refining), Detector(tiny_detr)
    plain = detector.without_box_refinement()
    assert plain.config == single.config
    expected, got = single.detect(image).detections, plain.detect(image).detections
    assert np.array_equal(got.boxes_xyxy, expected.boxes_xyxy)
    assert np.array_equal(got.scores, expected.scores)
    refined = detector.detect(image).detections
    assert np.array_equal(refined.scores, expected.scores)
    assert not np.allclose(refined.boxes_xyxy, expected.boxes_xyxy)
    with pytest.raises(ValueError, match="no box refinement"):
        single.without_box_refinement()


def test_a_size_is_the_shortest_side_and_gives_what_a_detector_of_that_size_gives(detector, images):
    own, small = detector.config.shortest_side, 48
    resized = detector.with_sizes(small)
    for image in images:
        prepared = detector.preprocess(image, small)
        assert torch.equal(prepared.pixels, resized.preprocess(image).pixels)
        assert torch.equal(detector.preprocess(image, own).pixels, detector.preprocess(image).pixels)
        expected, got = resized.detect(image).detections, detector.detect(image, size=small).detections
        assert np.array_equal(got.boxes_xyxy, expected.boxes_xyxy)
        assert np.array_equal(got.scores, expected.scores)
    assert min(detector.preprocess(images[0], small).pixels.shape[1:]) == small
    assert detector.tokens(detector.preprocess(images[0], 96)) > detector.tokens(detector.preprocess(images[0]))


@pytest.mark.parametrize("size", [47, 97])
def test_a_size_that_the_model_was_not_trained_with_is_refused(detector, images, size):
    with pytest.raises(ValueError, match=f"takes sizes of 48 to 96 pixels, not {size}"):
        detector.preprocess(images[0], size)
    assert detector.with_sizes(size).config.sides == (size, size)


def test_images_of_several_sizes_run_together(detector, images):
    sizes = (48, 64, 96, 80, 64, 96)
    prepared = [detector.preprocess(image, size) for image, size in zip(images, sizes, strict=True)]
    for image, size, prediction in zip(images, sizes, detector.predict(prepared, ATTENTIONS[1]), strict=True):
        single = detector.detect(image, ATTENTIONS[1], size=size)
        assert np.array_equal(single.detections.boxes_xyxy, prediction.detections.boxes_xyxy)
        assert single.attention == prediction.attention


def test_tiles_are_detected_in_like_images_and_put_together(detector, images):
    image = images[2]
    whole = detector.detect(image, ATTENTIONS[1], threshold=0.2)
    one = detector.detect(image, ATTENTIONS[1], threshold=0.2, tiles="1x1")
    assert np.array_equal(one.detections.boxes_xyxy, whole.detections.boxes_xyxy)
    assert one.attention == whole.attention
    tiled = detector.detect(image, ATTENTIONS[1], threshold=0.2, size=48, tiles="1x3")
    tiling = Tiling(*image.shape[:2], 1, 3)
    parts = [detector.detect(tile, ATTENTIONS[1], threshold=0.2, size=48) for tile in tiling.cut(image)]
    expected = merged(tiling, parts, detector.config.nms)
    assert np.array_equal(tiled.detections.boxes_xyxy, expected.detections.boxes_xyxy)
    assert tiled.attention.encoder_gflops == sum(part.attention.encoder_gflops for part in parts)
    height, width = image.shape[:2]
    assert (tiled.detections.boxes_xyxy <= [width, height, width, height]).all()
    assert detector.detect(np.tile(image, (1, 9, 1)), tiles="auto").attention.exact_encoder_gflops > (
        2 * whole.attention.exact_encoder_gflops
    )
    with pytest.raises(ValueError, match="ROWSxCOLUMNS"):
        detector.detect(image, tiles="3")
