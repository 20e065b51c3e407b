import json
from dataclasses import replace

import pytest
import torch

from models.attention_config import AttentionConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.named_models import EMBEDDED, named_config
from models.reproduction.accuracy_time import SIZES, attentions_of, main, measure

DATA = "pages:2:160x128"


@pytest.fixture
def detectors(tiny_detr):
    detector = Detector(tiny_detr)
    return {("tiny", size): detector.with_sizes(size) for size in (48, 64)}


def scored(detectors, file, data=DATA):
    """Measure; return what was scored anew, and the document."""
    reports: list[str] = []
    measure(detectors, data, 2, file, reports.append)
    return [report for report in reports if report.startswith("scoring")], json.loads(file.read_text())


def test_every_size_is_scored_and_timed_with_every_attention(detectors, tmp_path):
    anew, document = scored(detectors, tmp_path / "new" / "results.json")
    assert anew == ["scoring tiny at 48", "scoring tiny at 64"]
    lines = attentions_of(detectors["tiny", 48].config)
    rows = document["rows"]
    assert [(row["size"], row["line"]) for row in rows] == [(size, line) for size in (48, 64) for line in lines]
    assert [row["attention"] for row in rows[: len(lines)]] == [str(attention) for attention in lines.values()]
    for row in rows:
        assert row["model"] == "tiny"
        assert 0 <= row["ap"] <= 1
        assert 0 < row["milliseconds"]["low"] <= row["milliseconds"]["median"] <= row["milliseconds"]["high"]
    assert rows[len(lines)]["tokens"] > rows[0]["tokens"]
    assert document["data"]["images"] == 2
    assert document["timed"]["rounds"] == 2


def test_a_run_goes_on_where_it_was_stopped(detectors, tmp_path):
    file = tmp_path / "results.json"
    _, document = scored({("tiny", 48): detectors["tiny", 48]}, file)
    document["rows"][0]["ap"] = 0.125
    del document["timed"], document["rows"][0]["milliseconds"]
    file.write_text(json.dumps(document))
    anew, document = scored(detectors, file)
    assert anew == ["scoring tiny at 64"]
    assert document["rows"][0]["ap"] == 0.125
    assert all("milliseconds" in row for row in document["rows"])
    assert len(document["rows"]) == 12


def test_other_data_weights_or_settings_are_scored_again(detectors, tiny_config, tmp_path):
    file = tmp_path / "results.json"
    one = {("tiny", 48): detectors["tiny", 48]}
    scored(one, file)
    assert scored(one, file)[0] == []
    assert len(scored(one, file, "pages:1:160x128")[0]) == 1
    torch.manual_seed(7)
    other = {("tiny", 48): Detector(Detr(tiny_config)).with_sizes(48)}
    assert len(scored(other, file, "pages:1:160x128")[0]) == 1
    wider = other["tiny", 48]
    wider.config = replace(wider.config, act_r=9.0)
    assert len(scored(other, file, "pages:1:160x128")[0]) == 1


def test_the_embedded_models_are_compared_at_sizes_that_they_know():
    assert SIZES.keys() == EMBEDDED.keys()
    for model, sizes in SIZES.items():
        least, largest = named_config(model).sides
        assert all(least <= size <= largest for size in sizes)
        assert named_config(model).shortest_side in sizes
        lines = attentions_of(named_config(model))
        exact, tangent, _, act = named_config(model).default_attentions
        assert {exact, tangent, act, AttentionConfig.merge(0.5)} <= set(lines.values())


def test_nothing_is_drawn_before_the_times_are_there(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"rows": []}))
    with pytest.raises(SystemExit, match="before the times were measured"):
        main(["--draw-only", "--output", str(file)])
