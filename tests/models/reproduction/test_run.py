import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.data.samples import PageSamples
from models.detector import Detector, load_detector
from models.detr.detr import Detr
from models.reproduction.__main__ import main
from models.reproduction.claim import Plan
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


def in_silence(name):
    return lambda done, total: None


@pytest.fixture
def run(detector, tmp_path):
    claim = Counting()
    return lambda pages=2: measure([(claim, detector)], Plan(pages), tmp_path, in_silence)


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


def test_sizes_grow_from_the_models_own(detector):
    assert Plan().encoder_sizes(detector.with_sizes(352)) == (352, 493, 704, 915)
    assert Plan().quickly().encoder_sizes(detector.with_sizes(704)) == (704, 986)
    assert Plan(pages=2).quickly().pages == 2


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


def test_committed_results_are_of_the_claims_about_the_embedded_models():
    names = {claim.name for claim, _ in claims(load_detector("pages-small"), [load_detector("pages-large")])}
    files = {file.stem for file in RESULTS.glob("*.json")} - {"untuned"}
    assert files == {claim.name for claim, _ in measured_claims(RESULTS)} == names


def test_a_further_model_has_a_tradeoff_of_its_own(detector, tiny_config, plan, tmp_path):
    other = Detector(Detr(replace(tiny_config, name="other")))
    pairs = list(claims(detector, [other]))
    assert [(claim.name, model) for claim, model in pairs[-3:]] == [
        ("tradeoff-tiny", detector),
        ("tradeoff-tiny-distilled", detector),
        ("tradeoff-other", other),
    ]
    both = [pairs[-3], pairs[-1]]
    assert measure(both, plan, tmp_path, in_silence) == ["tradeoff-tiny", "tradeoff-other"]
    other.detr.class_embed.weight.data[0, 0] += 1
    assert measure(both, plan, tmp_path, in_silence) == ["tradeoff-other"]


def test_two_models_of_one_name_are_refused(detector):
    with pytest.raises(ValueError, match="the names of models must differ"):
        list(claims(detector, [detector]))


def test_the_command_measures_draws_and_names_what_it_leaves_out(tmp_path, monkeypatch, capsys):
    options = ["--quick", "--pages", "1", "--output", str(tmp_path), "--only"]
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "collision-rates"])
    main()
    assert "measured: collision-rates; already there: 0" in capsys.readouterr().out
    assert {file.name for file in tmp_path.iterdir()} == {"collision-rates.json", "collision-rates.svg", "tables.md"}
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "tradeoff-pages-small-distilled"])
    main()
    assert "not measured without --distilled: tradeoff-pages-small-distilled" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["reproduction", *options, "nothing"])
    with pytest.raises(SystemExit, match="there are: output-error, "):
        main()


def test_pages_are_no_smaller_than_the_input(detector):
    assert images_for(Plan(), detector, 3) == PageSamples(3, 792, 612, "journals")
    assert images_for(Plan(), detector.with_sizes(1224), 3) == PageSamples(3, 1584, 1224, "journals")
    assert images_for(Plan(data="pages"), detector, 3) == PageSamples(3, 792, 612, "pages")


@pytest.mark.parametrize(
    ("heights", "apart"), [([0.5, 0.5, 0.9], [0.45, 0.55, 0.9]), ([0.0, 0.0], [0.0, 0.1]), ([], [])]
)
def test_labels_are_moved_apart(heights, apart):
    assert spaced(heights, 0.1) == pytest.approx(apart)
