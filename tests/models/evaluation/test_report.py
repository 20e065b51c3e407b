import json
from io import StringIO

import numpy as np
from rich.console import Console

from models.attention_config import AttentionConfig
from models.data.coco import GroundTruth
from models.data.samples import Sample
from models.evaluation.evaluate import evaluate
from models.evaluation.report import as_json, tables, unlabelled_caption
from models.evaluation.weights_digest import weights_digest

SETTINGS = (AttentionConfig.exact(), AttentionConfig.act(4, 1.0), AttentionConfig.kmeans(5))


def shown(evaluations):
    text = StringIO()
    for table in tables(evaluations):
        Console(width=150, file=text).print(table)
    return text.getvalue()


def test_tables_have_a_row_for_every_setting(detector, pages):
    evaluations = evaluate(detector, pages, SETTINGS)
    text = shown(evaluations)
    assert [text.count(str(setting)) for setting in SETTINGS[1:]] == [6, 6]
    assert f"{evaluations[1].metrics.ap50:.3f}" in text
    assert f"{evaluations[1].clusters[0]:.0f} ({evaluations[1].cluster_ratio[0]:.2f})" in text
    assert f"{evaluations[2].gflops.total:.3g}" in text
    assert f"{evaluations[2].fidelity.encoder_error:.3f}" in text


def test_tables_of_exact_attention_only_compare_nothing(detector, pages):
    text = shown(evaluate(detector, pages, SETTINGS[:1]))
    assert "against exact" not in text
    assert "clusters" not in text


def test_json_says_how_to_repeat_the_evaluation(detector, pages):
    report = json.loads(json.dumps(as_json(evaluate(detector, pages, SETTINGS), detector, "pages-small", pages)))
    assert {"date", "command", "commit", "device", "threads", "python", "torch", "packages", "clock"} <= report.keys()
    assert report["model"]["name"] == "tiny"
    assert report["model"]["weights_sha256"] == weights_digest(detector)
    assert (report["model"]["shortest_side"], report["model"]["longest_side"]) == (64, 128)
    assert report["data"]["data"] == "pages:2:128x96"
    assert report["data"]["images"] == 2
    rows = report["evaluations"]
    assert [row["setting"] for row in rows] == ["exact", "act:L=4,r=1", "kmeans:C=5"]
    assert rows[1]["attention"] == {"mode": "act", "L": 4, "r": 1.0, "seed": 0, "metric": "query"}
    assert rows[0]["fidelity"] is None
    assert AttentionConfig.parse(rows[2]["setting"]) == SETTINGS[2]


def test_tables_and_json_name_unlabelled_classes(detector, pages):
    sample = Sample(np.zeros((64, 64, 3), np.uint8), GroundTruth(np.array([[0.0, 0, 30, 30]]), ("text",)))
    evaluations = evaluate(detector, [sample], SETTINGS[:1])
    text = " ".join(shown(evaluations).split())  # a narrow table breaks the line
    assert text.count("without title, list, table, figure, which the data do not label") == 3
    report = as_json(evaluations, detector, "pages-small", pages)
    assert report["data"]["unlabelled_classes"] == ["title", "list", "table", "figure"]
    assert "unlabelled" not in report["evaluations"][0]
    assert unlabelled_caption(()) is None
    assert "without 79 of the model's classes" in str(unlabelled_caption(("[a]",) * 79))
    assert unlabelled_caption(("[a]",)) == r"without \[a], which the data do not label"
