import json

import numpy as np
import pytest
from PIL import Image

from models.config import AttentionConfig
from models.detector import Detector
from models.evaluation.evaluate import as_json, coco_samples, evaluate, page_samples, page_truth
from models.training.pages import render_page


def test_exact_and_act_are_scored_side_by_side(tiny_detr):
    detector = Detector(tiny_detr)
    samples = list(page_samples(2, 128, 96))
    exact, act = (evaluate(detector, samples, a) for a in (AttentionConfig.exact(), AttentionConfig.act(4, 1.0)))
    assert exact.images == act.images == 2
    assert exact.cluster_ratio == ()
    assert len(act.cluster_ratio) == 2
    assert all(0 < ratio <= 1 for ratio in act.cluster_ratio)
    assert exact.encoder_gflops == exact.exact_encoder_gflops
    assert 0 <= exact.metrics.ap <= exact.metrics.ap50 <= 1
    assert json.loads(json.dumps(as_json([exact, act])))["evaluations"][1]["attention"]["L"] == 4


def test_nothing_to_evaluate_is_said(tiny_detr):
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(Detector(tiny_detr), [], AttentionConfig.exact())


def test_a_coco_folder_is_read(tmp_path):
    page = render_page(5, 128, 96)
    page.image.save(tmp_path / "page.png")
    truth = page_truth(page)
    annotations = {
        "images": [{"id": 7, "file_name": "page.png", "height": 128, "width": 96}],
        "categories": [{"id": 3, "name": truth.labels[0]}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    (sample,) = coco_samples(tmp_path, tmp_path / "annotations.json")
    assert np.array_equal(sample.image, np.asarray(Image.open(tmp_path / "page.png")))
    assert sample.truth.labels == truth.labels[:1]
    assert sample.truth.boxes_xyxy.tolist() == [[1, 2, 31, 42]]
