import json
from pathlib import Path

import pytest

from models.attention_config import ACT_DEFAULTS, AttentionConfig
from models.data.samples import PageSamples
from models.reproduction import untuned
from models.reproduction.untuned import SETTINGS, SHOWN, main, measure, rescaled, subjects, tables, trained

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "reproduction" / "untuned.json"
KEY, QUERY = AttentionConfig.act(16, 1.0, metric="key"), AttentionConfig.act(16, 1.0)


@pytest.fixture
def pages():
    return list(PageSamples(2, 128, 96))


def test_the_same_function_by_other_weights_has_the_same_error_in_logits_only(detector, pages):
    own = measure(trained(detector, pages), (KEY, QUERY))
    other = measure(rescaled(detector, pages, 4, 1 / 4, "other"), (KEY, QUERY))
    assert own["share"] == other["share"]
    assert {name: own["rows"][0][name] for name in ("ratio", "cost")} == {
        name: other["rows"][0][name] for name in ("ratio", "cost")
    }
    assert own["rows"][0]["attention"] == pytest.approx(other["rows"][0]["attention"], rel=1e-3)
    assert own["rows"][1]["ratio"] < other["rows"][1]["ratio"]
    assert own["rows"][1]["attention"] > other["rows"][1]["attention"]


def test_detections_are_compared_only_where_weights_were_trained(detector, pages):
    assert "match_rate" in measure(rescaled(detector, pages, 2, 0.5, "same"), (KEY,))["rows"][0]
    assert "match_rate" not in measure(rescaled(detector, pages, 2, 2, "sharper"), (KEY,))["rows"][0]


def test_subjects_are_of_several_sharpnesses_and_head_widths(detector, pages, monkeypatch):
    monkeypatch.setattr(untuned, "MADE", ((8, 0.1), (4, None)))
    named = {subject.name: subject for subject in subjects(detector, detector, pages)}
    assert "tiny, queries x 4, keys / 4" in named
    assert named["tiny, logits x 4"].share < named["tiny"].share < named["tiny, logits x 0.5"].share
    assert named["random, 8 heads of 32, 10%"].share == pytest.approx(0.1, rel=1e-3)
    assert named["random, 4 heads of 64, as trained"].encoder.layers[0].self_attn.heads == 4


def test_tables_have_the_range_over_all_models_and_some_settings_by_model(tmp_path, capsys):
    rows = [
        {"setting": str(setting), "ratio": 0.5, "cost": 0.6, "attention": 0.01 * index, "encoder": 0.2}
        for index, setting in enumerate(SETTINGS)
    ]
    models = [
        {"model": "a", "tokens": 638.0, "share": 0.4, "rows": [row | {"match_rate": 0.9} for row in rows]},
        {"model": "random", "tokens": 910.0, "share": 0.1, "rows": [row | {"attention": 0.5} for row in rows]},
    ]
    file = tmp_path / "untuned.json"
    file.write_text(json.dumps({"models": models}))
    main(["--draw-only", "--output", str(file)])
    over, by_model = capsys.readouterr().out.strip().split("\n\n")
    assert "| `act:L=16,r=1,metric=key` | 0.010 to 0.500 | 0.200 to 0.200 |" in over
    assert len(over.splitlines()) == 2 + len(SETTINGS)
    assert by_model.splitlines()[2].startswith("| a | 638 | 40% | 0.020 at 0.50 |")


def test_a_missing_file_of_results_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.json"):
        main(["--draw-only", "--output", str(tmp_path / "none.json")])


def test_the_default_of_the_untuned_is_among_what_is_measured():
    L, r = ACT_DEFAULTS["key"]
    assert AttentionConfig.act(L, r, metric="key") in SHOWN
    assert set(SHOWN) <= set(SETTINGS)


def test_the_documents_tables_are_of_the_results():
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    for table in tables(json.loads(RESULTS.read_text(encoding="utf-8"))):
        assert table in text
