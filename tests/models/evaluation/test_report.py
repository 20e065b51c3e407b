import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from models.config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import PageSamples, Sample
from models.detector import Detector
from models.evaluation.evaluate import evaluate
from models.evaluation.report import as_json, tables, without_label

KINDS = (AttentionConfig.exact(), AttentionConfig.act(4, 1.0), AttentionConfig.kmeans(5))
PAGES = PageSamples(2, 128, 96)


@pytest.fixture
def detector(tiny_detr):
    return Detector(tiny_detr)


def shown(evaluations):
    text = StringIO()
    for table in tables(evaluations):
        Console(width=150, file=text).print(table)
    return text.getvalue()


def test_every_kind_has_its_rows(detector):
    evaluations = evaluate(detector, PAGES, KINDS)
    text = shown(evaluations)
    assert [text.count(str(kind)) for kind in KINDS[1:]] == [5, 5]
    assert f"{evaluations[1].metrics.ap50:.3f}" in text
    assert f"{evaluations[1].clusters[0]:.0f} ({evaluations[1].cluster_ratio[0]:.2f})" in text
    assert f"{evaluations[2].gflops.total:.3g}" in text
    assert f"{evaluations[2].fidelity.encoder_error:.3f}" in text


def test_exact_alone_is_compared_with_nothing(detector):
    text = shown(evaluate(detector, PAGES, KINDS[:1]))
    assert "against exact" not in text
    assert "clusters" not in text


def test_json_holds_what_it_takes_to_repeat_it(detector):
    report = json.loads(json.dumps(as_json(evaluate(detector, PAGES, KINDS), detector, "pages-small", PAGES)))
    assert {"date", "command", "commit", "device", "threads", "python", "torch", "packages", "clock"} <= report.keys()
    assert report["model"]["name"] == "tiny"
    assert len(report["model"]["sha256"]["pages-small.safetensors"]) == 64
    assert (report["model"]["shortest_side"], report["model"]["longest_side"]) == (64, 128)
    assert report["data"]["data"] == "pages:2:128x96"
    assert report["data"]["images"] == 2
    rows = report["evaluations"]
    assert [row["setting"] for row in rows] == ["exact", "act:L=4,r=1", "kmeans:C=5"]
    assert rows[1]["attention"] == {"mode": "act", "L": 4, "r": 1.0, "seed": 0, "metric": "query"}
    assert rows[0]["fidelity"] is None
    assert AttentionConfig.parse(rows[2]["setting"]) == KINDS[2]


def test_classes_without_a_label_are_said_in_tables_and_json(detector):
    sample = Sample(np.zeros((64, 64, 3), np.uint8), GroundTruth(np.array([[0.0, 0, 30, 30]]), ("text",)))
    evaluations = evaluate(detector, [sample], KINDS[:1])
    text = " ".join(shown(evaluations).split())  # a narrow table breaks the line
    assert text.count("without title, list, table, figure: the data have no label of them") == 2
    report = as_json(evaluations, detector, "pages-small", PAGES)
    assert report["data"]["unlabelled_classes"] == ["title", "list", "table", "figure"]
    assert "unlabelled" not in report["evaluations"][0]
    assert without_label(()) is None
    assert "without 79 of the model's classes" in str(without_label(("[a]",) * 79))
    assert without_label(("[a]",)) == r"without \[a]: the data have no label of them"
