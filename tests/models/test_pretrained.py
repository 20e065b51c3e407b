"""The embedded models: what they promise in their card, on a few pages that training never rendered."""

from importlib import resources

import numpy as np
import pytest
from PIL import Image

from models import AttentionConfig, load_detector
from models.data.samples import PageSamples
from models.evaluation.evaluate import evaluate
from models.named_models import EMBEDDED, named_config

MOST_BYTES = 30 * 2**20
LEAST_AP50 = 0.48
PAGES = {"pages-small": 8, "pages-large": 2}
TOKENS = {"pages-small": 600, "pages-large": 2400}


@pytest.fixture(scope="module", params=EMBEDDED)
def detector(request):
    return load_detector(request.param, device="cpu")


@pytest.fixture(scope="module")
def sample():
    with resources.files("models").joinpath("pretrained", "sample-page.jpg").open("rb") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def test_a_file_is_small_and_knows_its_configuration(detector):
    file = resources.files("models").joinpath("pretrained", f"{detector.name}.safetensors")
    assert len(file.read_bytes()) < MOST_BYTES
    assert detector.config == named_config(detector.name)
    assert detector.tokens(detector.preprocess(np.zeros((1056, 816, 3), np.uint8))) >= TOKENS[detector.name]


def test_it_finds_objects_on_the_sample_page(detector, sample):
    detections = detector.detect(sample).detections.select(threshold=0.5)
    assert {"text", "table", "figure"} <= set(detections.labels)
    height, width = sample.shape[:2]
    assert (detections.boxes_xyxy[:, 2:] > detections.boxes_xyxy[:, :2]).all()
    assert (detections.boxes_xyxy <= [width, height, width, height]).all()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_a_threshold_changes_no_answer_that_reaches_it(detector, sample, threshold):
    every = detector.detect(sample).detections.select(threshold, nms=detector.config.nms)
    some = detector.detect(sample, threshold=threshold).detections.select(nms=detector.config.nms)
    assert some.labels == every.labels
    assert np.array_equal(some.scores, every.scores)
    np.testing.assert_allclose(some.boxes_xyxy, every.boxes_xyxy, rtol=0, atol=0.01)


def test_it_keeps_its_precision(detector):
    """Half of what the card says, on far fewer pages: broken weights score nothing."""
    samples, attentions = PageSamples(PAGES[detector.name]), (AttentionConfig.exact(), detector.config.default_act)
    for evaluation in evaluate(detector, samples, attentions):
        assert evaluation.metrics.ap50 > LEAST_AP50


def test_its_default_act_clusters_and_saves(detector, sample):
    report = detector.detect(sample, detector.config.default_act).attention
    assert all(1 < layer.mean < report.tokens for layer in report.clusters)
    assert report.encoder_gflops < report.exact_encoder_gflops
