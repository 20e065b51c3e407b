import json
from dataclasses import replace

import pytest
import torch

from models.config import AttentionConfig, BoxRefinementConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.reproduction.plots import spaced
from models.reproduction.reproduce import Part, Plan, Resolution, as_text, digest, part_names, read_part, run
from models.reproduction.reproduce_parts import parts
from models.reproduction.reproduction_plots import write_plots
from models.reproduction.reproduction_tables import markdown, targets, verdict, write_tables
from models.reproduction.tradeoff import TANGENT

MODEL = {"name": "tiny", "sha256": "00"}


def quiet(part, done, total):
    pass


def test_a_part_runs_once_until_its_settings_or_the_model_change(tmp_path):
    calls = []

    def part(**settings):
        return Part("one", settings, lambda: calls.append(settings) or {"value": len(calls)})

    first = part(images=2, sizes=(3, 4))
    assert run([first], MODEL, tmp_path, "act-detr reproduce", quiet) == ["one"]
    assert run([first], MODEL, tmp_path, "act-detr reproduce", quiet) == []
    assert run([part(images=3)], MODEL, tmp_path, "act-detr reproduce", quiet) == ["one"]
    assert run([part(images=3)], {**MODEL, "sha256": "01"}, tmp_path, "act-detr reproduce", quiet) == ["one"]
    found = read_part(tmp_path, "one")
    assert found["results"] == {"value": 3}
    assert found["circumstances"]["command"] == "act-detr reproduce"


def test_a_broken_file_is_measured_again(tmp_path):
    (tmp_path / "one.json").write_text('{"settings": {')
    assert run([Part("one", {}, lambda: 1)], MODEL, tmp_path, "", quiet) == ["one"]
    assert [file.name for file in tmp_path.iterdir()] == ["one.json"]


def test_text_keeps_numbers_short_and_lists_on_a_line():
    text = as_text({"a": [1.23456789, 2e-9], "kind": AttentionConfig.act(16, 2.0), "none": None, "yes": True})
    assert '"a": [ 1.23457, 2e-09 ]' in text
    assert json.loads(text) == {"a": [1.23457, 2e-9], "kind": "act:L=16,r=2", "none": None, "yes": True}


def test_another_size_is_the_same_model(tiny_detr):
    detector = Detector(tiny_detr)
    scaled = detector.with_sizes(96)
    assert (scaled.config.shortest_side, scaled.config.longest_side) == (96, 192)
    assert detector.config.shortest_side == 64
    assert digest(scaled) == digest(detector)


def test_the_digest_is_of_the_weights(tiny_detr):
    detector = Detector(tiny_detr)
    before = digest(detector)
    tiny_detr.class_embed.weight.data[0, 0] += 1
    assert digest(detector) != before


def test_a_plan_grows_from_the_models_own_size():
    plan = Plan(352)
    assert [str(size) for size in plan.tradeoff_sizes] == ["352", "352-dense", "416-dense"]
    assert plan.feature_sizes == (352, 493, 704, 915)
    assert replace(plan, sizes=(Resolution(64),)).tradeoff_sizes == (Resolution(64),)
    assert replace(plan, pages=2).quickly().pages == 2


def test_labels_are_moved_apart():
    assert spaced([0.5, 0.5, 0.9], 0.1) == pytest.approx([0.45, 0.55, 0.9])
    assert spaced([0.0, 0.0], 0.1) == pytest.approx([0.0, 0.1])
    assert spaced([], 0.1) == []


def test_a_table_in_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_verdict_says_whether_chance_might_change_it():
    assert TANGENT.most_lost == 0.5
    assert verdict(TANGENT, 0.2, None) == verdict(TANGENT, 0.2, (0.0, 0.4)) == "met"
    assert verdict(TANGENT, 0.2, (-0.5, 0.9)) == "met, within chance"
    assert verdict(TANGENT, 0.9, (0.3, 1.5)) == "missed, within chance"
    assert verdict(TANGENT, 0.9, (0.6, 1.2)) == "missed"
    assert verdict(TANGENT, None, None) == "dearer at every setting"


def test_a_distilled_model_is_measured_shortly_at_many_tokens(tiny_detr):
    detector = Detector(tiny_detr)
    plan = Plan(64, pages=50, sizes=(Resolution(64), Resolution(64, dense=True)))
    by_name = {part.name: part.settings for part in parts(plan, detector, detector, quiet)}
    own, dense = by_name["tradeoff-64-distilled"], by_name["tradeoff-64-dense-distilled"]
    assert own["grid"] == by_name["tradeoff-64"]["grid"]
    assert dense["grid"]["clusters"] == (4, 8, 16)
    assert dense["grid"]["kmeans"] is False
    assert dense["images"] == by_name["tradeoff-64-dense"]["images"]
    assert dense["distilled_sha256"] == digest(detector)


@pytest.mark.slow
def test_every_part_runs_and_is_drawn_from_its_json(tiny_config, tmp_path):
    torch.manual_seed(0)
    detector = Detector(Detr(replace(tiny_config, box_refinement=BoxRefinementConfig())))
    plan = Plan(64, pages=2, sizes=(Resolution(64), Resolution(96))).quickly()
    chosen = list(parts(plan, detector, detector, quiet))
    done = run(chosen, MODEL, tmp_path, "act-detr reproduce --quick", quiet)
    assert done == [
        "diversity",
        "redundancy",
        "sharing",
        "output-error",
        "attention-time",
        "layer-clusters-64",
        "published-size",
        "tradeoff-64-plain",
        "tradeoff-64",
        "tradeoff-64-distilled",
    ]
    assert run(parts(plan, detector, detector, quiet), MODEL, tmp_path, "", quiet) == []
    assert sorted(part_names(tmp_path, "tradeoff-")) == ["tradeoff-64", "tradeoff-64-distilled", "tradeoff-64-plain"]
    assert read_part(tmp_path, "tradeoff-64")["settings"]["box_refinement"] is True
    assert "box_refinement" not in read_part(tmp_path, "tradeoff-64-plain")["settings"]
    files = write_plots(tmp_path)
    assert {file.name for file in files} >= {"tradeoff-64.svg", "sharing.svg", "redundancy.png", "diversity.svg"}
    assert {file.name for file in files} >= {"layer-clusters.svg", "published-size.svg"}
    assert all(0 < file.stat().st_size < 400_000 for file in files)
    first = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_plots(tmp_path)] == first
    text = write_tables(tmp_path).read_text()
    assert "| exact | 1 | 100.0% |" in text
    assert "ACT saves 40 % of attention, after MTKD" in text
    assert "| 4 | by layer |" in text
    assert "the encoder of detr-r50-dc5 with made weights" in text
    names = [name for name, *_ in targets(read_part(tmp_path, "tradeoff-64"))]
    assert names == ["ACT, L = 16", "tangent"]
