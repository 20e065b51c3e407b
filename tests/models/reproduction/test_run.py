import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.data.samples import PageSamples
from models.reproduction.__main__ import main
from models.reproduction.claim import Plan, Resolution
from models.reproduction.inputs import images_for
from models.reproduction.run import claims, draw, json_text, measure, measured_claims, tables
from models.reproduction.style import spaced
from models.training.plan.recipe_file import read_recipe

RESULTS = Path(__file__).parents[3] / "docs" / "reproduction"


class Counting:
    """A claim whose result is the number of times that it was measured."""

    name = "counting"
    count = 0

    def settings(self, detector, plan):
        return {"pages": plan.pages, "sizes": (1, 2)}

    def measure(self, detector, plan, progress):
        self.count += 1
        progress(1, 1)
        return {"count": self.count}


@pytest.fixture
def run(detector, tmp_path):
    claim = Counting()
    return lambda pages=2: measure([claim], detector, Plan(64, pages), tmp_path, lambda name: lambda done, total: None)


def test_a_claim_is_measured_once_until_its_settings_or_the_weights_change(run, detector, tmp_path):
    assert run() == ["counting"]
    assert run() == []
    assert run(pages=3) == ["counting"]
    detector.detr.class_embed.weight.data[0, 0] += 1
    assert run(pages=3) == ["counting"]
    document = json.loads((tmp_path / "counting.json").read_text())
    assert document["results"] == {"count": 3}
    assert document["environment"]["threads"] > 0


def test_a_broken_file_is_measured_again(run, tmp_path):
    (tmp_path / "counting.json").write_text('{"settings": {')
    assert run() == ["counting"]
    assert [file.name for file in tmp_path.iterdir()] == ["counting.json"]


def test_json_has_short_numbers_and_a_list_on_a_line():
    text = json_text({"a": [1.23456789, 2e-9], "none": None, "yes": True})
    assert '"a": [ 1.23457, 2e-09 ]' in text
    assert json.loads(text) == {"a": [1.23457, 2e-9], "none": None, "yes": True}


def test_a_plan_grows_from_the_models_own_size():
    plan = Plan(352)
    assert [str(size) for size in plan.tradeoff_sizes] == ["352", "352-dense", "416-dense"]
    assert plan.encoder_sizes == (352, 493, 704, 915)
    assert replace(plan, sizes=(Resolution(64),)).tradeoff_sizes == (Resolution(64),)
    assert replace(plan, pages=2).quickly().pages == 2


@pytest.mark.parametrize("text", ["31", "352-sparse", "wide"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="a size is a shortest side"):
        Resolution.parse(text)


def test_committed_tables_are_those_of_the_results():
    assert tables(measured_claims(RESULTS)) == (RESULTS / "tables.md").read_text()


def test_the_recipe_of_the_distilled_weights_is_one():
    distillation = read_recipe(RESULTS / "distilled.toml").distillation
    assert (distillation.attention, distillation.distance) == ("act:L=16,r=2", "overlap")


def test_equal_results_make_equal_figures(tmp_path):
    (tmp_path / "diversity.json").write_bytes((RESULTS / "diversity.json").read_bytes())
    files = draw(tmp_path)
    assert [file.name for file in files] == ["tables.md", "diversity.svg"]
    first = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in draw(tmp_path)] == first


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no results to draw"):
        draw(tmp_path)


def test_committed_results_are_of_the_claims_of_a_full_plan(detector):
    names = {claim.name for claim in claims(Plan(352), detector)} | {"tradeoff-352-unrefined"}
    assert {claim.name for claim, _ in measured_claims(RESULTS)} == names


def test_the_command_measures_draws_and_names_what_it_leaves_out(tmp_path, monkeypatch, capsys):
    options = ["--quick", "--pages", "1", "--output", str(tmp_path), "--only"]
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "collision-rates"])
    main()
    assert "measured: collision-rates; already there: 0" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"collision-rates.json", "collision-rates.svg", "tables.md"}
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "tradeoff-352-distilled"])
    main()
    assert "not measured without --distilled: tradeoff-352-distilled" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "nothing"])
    with pytest.raises(SystemExit, match="there are: output-error, "):
        main()


def test_pages_are_no_smaller_than_the_input(detector):
    assert images_for(Plan(64), detector, 3) == PageSamples(3, 792, 612, "journals")
    assert images_for(Plan(64), detector.with_sizes(1224), 3) == PageSamples(3, 1584, 1224, "journals")
    assert images_for(Plan(64, data="pages"), detector, 3) == PageSamples(3, 792, 612, "pages")


@pytest.mark.parametrize(
    ("heights", "apart"), [([0.5, 0.5, 0.9], [0.45, 0.55, 0.9]), ([0.0, 0.0], [0.0, 0.1]), ([], [])]
)
def test_labels_are_moved_apart(heights, apart):
    assert spaced(heights, 0.1) == pytest.approx(apart)
