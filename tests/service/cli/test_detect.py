"""`act-detr detect` with a detector of its own, and with that of a service."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from service.cli import main as cli
from service.cli import remote_detection
from service.cli.detection_run import DetectionRun
from service.cli.found_images import found_images
from service.client import RetryPolicy

runner = CliRunner()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, detector: Any) -> Any:
    """The detector behind both."""
    monkeypatch.setattr("models.detector.load_detector", lambda *_, **__: detector)
    for name in ("ACT_DETR_ATTENTION", "ACT_DETR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return detector


@pytest.fixture
def masked(fake: Any) -> None:
    """The detector gives masks; before the service starts."""
    fake.mask_refusal = None


@pytest.fixture(params=["local", "remote"])
def detect(request: pytest.FixtureRequest, fake: Any, start: Any) -> Iterator[Callable[..., Any]]:
    """Return a function (*arguments) that runs the command, in this process or by a service."""
    if request.param == "local":
        yield run
    else:
        with start() as server:
            yield lambda *arguments: run(*arguments, "--url", f"http://127.0.0.1:{server.port}")


def run(*arguments: object) -> Any:
    return runner.invoke(cli.app, ["detect", *(str(argument) for argument in arguments)])


@pytest.fixture
def page(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    path = tmp_path / "page [1].png"
    path.write_bytes(encoded())
    return path


@pytest.fixture
def folder(tmp_path: Path, encoded: Callable[..., bytes]) -> Path:
    """Four images with names of many kinds, and two files that are none."""
    for seed, name in enumerate(("a [b].png", "图/ä.png", "图/e\u0301.PNG", "图/deep/1.png")):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(seed=seed))
    (tmp_path / "folder" / "bad.png").write_bytes(b"junk")
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    return tmp_path / "folder"


def test_a_table_is_printed(detect: Callable[..., Any], page: Path) -> None:
    result = detect(page, "--attention", "act", "-L", 16, "-r", 4)
    assert result.exit_code == 0, result.output
    assert "figure" in result.output
    assert "0.912" in result.output
    assert "act attention over 2400 tokens" in result.output


def test_the_table_says_how_many_tokens_merging_left(detect: Callable[..., Any], page: Path) -> None:
    result = detect(page, "--attention", "merge", "--ratio", 0.25)
    assert result.exit_code == 0, result.output
    assert "merge attention over 1800 of 2400 tokens" in result.output


def test_json_lines_are_printed_and_pictures_saved(detect: Callable[..., Any], page: Path, tmp_path: Path) -> None:
    result = detect(page, page, "--json", "--save", tmp_path / "out", "--threshold", 0, "--labels", "title")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(page)] * 2
    assert [row["label"] for row in lines[0]["detections"]] == ["title"]
    assert lines[0]["attention"]["mode"] == "tangent"
    assert lines[0]["attention"]["reason"].startswith("auto: tangent:C=16 was measured to take ")
    assert Image.open(tmp_path / "out" / "page [1].png.png").size == (60, 40)


def test_a_metric_is_taken(detect: Callable[..., Any], page: Path) -> None:
    result = detect(page, "--attention", "act", "-r", 4, "--metric", "key", "--json")
    attention = json.loads(result.stdout)["attention"]
    assert (attention["L"], attention["r"], attention["metric"]) == (16, 4.0, "key")


def test_a_size_and_tiles_are_taken(detect: Callable[..., Any], page: Path) -> None:
    result = detect(page, "--size", 304, "--tiles", "2x3", "--json")
    line = json.loads(result.stdout)
    assert line["tiles"] == {"rows": 2, "columns": 3}
    assert line["resized"] == {"width": 24, "height": 23}
    assert line["attention"]["tokens"] == 24 * 23
    assert "552 tokens in each of 6 tiles" in " ".join(detect(page, "--tiles", "2x3").output.split())


def test_a_bad_file_fails_alone(detect: Callable[..., Any], page: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"junk")
    result = detect(bad, tmp_path / "missing.png", page, "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(page)]
    assert "No such file" in result.stderr
    assert "not a supported image" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    "options",
    [
        ("-L", 16),
        ("--attention", "act", "-r", -1),
        ("--labels", "cat"),
        ("--threshold", 2),
        ("--size", 300),
        ("--tiles", "3"),
        ("--tiles", "9x9"),
    ],
)
def test_bad_options_end_with_two(detect: Callable[..., Any], page: Path, options: tuple[object, ...]) -> None:
    assert detect(page, *options).exit_code == 2


def test_masks_are_given_and_drawn(masked: None, detect: Callable[..., Any], page: Path, tmp_path: Path) -> None:
    result = detect(page, "--masks", "polygons", "--json", "--save", tmp_path / "out", "--threshold", 0)
    assert result.exit_code == 0, result.output
    quarter, _, nothing = (row["segmentation"] for row in json.loads(result.stdout)["detections"])
    assert len(quarter) == 1
    assert min(quarter[0]) == 0
    assert nothing == []
    plain = detect(page, "--save", tmp_path / "plain", "--threshold", 0)
    assert "segmentation" not in plain.output
    drawn, without = (Image.open(tmp_path / name / f"{page.name}.png") for name in ("out", "plain"))
    assert drawn.tobytes() != without.tobytes()


def test_masks_of_a_model_that_has_none_are_refused(detect: Callable[..., Any], page: Path) -> None:
    result = detect(page, "--masks", "rle")
    assert result.exit_code == 2
    assert "masks: fake gives no masks" in result.output


def test_lines_have_the_whole_answer(detect: Callable[..., Any], page: Path) -> None:
    line = json.loads(detect(page, "--json", "--attention", "exact", "--threshold", 0.2).stdout)
    assert line["image"] == {"width": 60, "height": 40}
    assert (line["model"], line["batch_size"], line["attention"]["reason"]) == ("fake", 1, "asked for")
    assert set(line["timing_ms"]) == {"decode", "preprocess", "queue", "inference", "postprocess", "total"}
    assert [row["label"] for row in line["detections"]] == ["figure", "text"]


def test_folders_are_walked_and_counted(detect: Callable[..., Any], folder: Path, page: Path) -> None:
    result = detect(page, folder, "--json")
    names = [Path(json.loads(line)["file"]).name for line in result.stdout.splitlines()]
    assert names == ["page [1].png", "a [b].png", "1.png", "e\u0301.PNG", "ä.png"]
    assert result.exit_code == 1
    assert "bad.png: This is not a supported image." in result.stderr
    assert "6 files: 5 detected, 1 failed, " in result.stderr
    assert detect(page).stderr == ""


def test_pictures_of_a_folder_keep_their_places(detect: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    detect(folder, folder / "a [b].png", "--save", tmp_path / "out")
    saved = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert saved == ["a [b].png.png", "图/deep/1.png.png", "图/e\u0301.PNG.png", "图/ä.png.png"]


def test_an_output_goes_on_where_it_stopped(
    detect: Callable[..., Any], folder: Path, tmp_path: Path, fake: Any, encoded: Callable[..., bytes]
) -> None:
    output = tmp_path / "out.jsonl"
    first = detect(folder, "--output", output)
    assert (first.exit_code, first.stdout) == (1, "")
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [Path(line["file"]).name for line in lines] == ["a [b].png", "1.png", "e\u0301.PNG", "ä.png"]
    assert all(line["options"] == {} and line["model"] == "fake" for line in lines)
    ran = len(fake.batches)
    (folder / "bad.png").write_bytes(encoded())
    second = detect(folder, folder / "bad.png", "--output", output)
    assert (second.exit_code, len(fake.batches)) == (0, ran + 1)
    assert "5 files: 4 done before, 1 detected, 0 failed, " in second.stderr
    assert len(output.read_text(encoding="utf-8").splitlines()) == 5
    assert detect(folder, "--output", output, "--json").stdout == ""


def test_other_options_do_not_go_into_the_same_output(detect: Callable[..., Any], page: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert detect(page, "--output", output, "--labels", "text,title", "--threshold", 0.5).exit_code == 0
    again = detect(page, "--output", output, "--labels", "text,title", "--threshold", 0.6)
    assert again.exit_code == 2
    assert "of fake with threshold=0.5, labels=['text,title'], not of fake with threshold=0.6" in again.stderr


def test_coco_and_csv_have_a_row_for_each_detection(detect: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").unlink()
    options = (folder, "--threshold", 0.2, "--attention", "exact", "--output")
    assert detect(*options, tmp_path / "out.csv").exit_code == 0
    assert detect(*options, tmp_path / "out.txt", "--format", "coco").exit_code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows[::2]] == ["a [b].png", "1.png", "e\u0301.PNG", "ä.png"]
    assert {row["label"] for row in rows} == {"figure", "text"}
    results = json.loads((tmp_path / "out.txt").read_text(encoding="utf-8"))
    numbered = str(folder / "图/deep/1.png")
    assert [row["image_id"] for row in results] == [1 if row["file"] == numbered else row["file"] for row in rows]
    assert {row["category_id"] for row in results} == {1, 5}
    x, y, width, height = results[0]["bbox"]
    assert (float(rows[0]["xmin"]), float(rows[0]["ymin"])) == (x, y)
    assert float(rows[0]["xmax"]) == pytest.approx(x + width)
    assert float(rows[0]["ymax"]) == pytest.approx(y + height)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "out.txt"), "give its --format, as it ends in none of .jsonl, .ndjson, .json, .csv"),
        (("--output", "nowhere/out.csv"), "there is no folder nowhere to write out.csv into"),
        (("--output", "there.csv"), "there.csv exists, but not there.csv.journal"),
        (("--output", "there.jsonl"), "there.jsonl was not written by this command: line 1"),
        (("--format", "csv"), "--format needs --output"),
    ],
)
def test_outputs_that_cannot_be_are_refused(
    detect: Callable[..., Any],
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("there.csv", "there.jsonl"):
        (tmp_path / name).write_text("precious\n")
    result = detect(page, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert all((tmp_path / name).read_text() == "precious\n" for name in ("there.csv", "there.jsonl"))


def test_an_empty_folder_is_bad_input(detect: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = detect(tmp_path / "empty")
    assert result.exit_code == 2
    assert "there are no image files below" in result.stderr


def test_a_name_that_is_not_unicode(detect: Callable[..., Any], page: Path, tmp_path: Path) -> None:
    odd = page.with_name("caf\udce9.png")
    odd.write_bytes(page.read_bytes())
    assert json.loads(detect(odd, "--json").stdout)["file"] == str(odd)
    assert "figure" in detect(odd).stdout
    for name in ("out.jsonl", "out.csv", "out.json"):
        for _ in range(2):
            assert detect(odd, "--output", tmp_path / name).exit_code == 0
    assert b"caf\xe9.png,figure," in (tmp_path / "out.csv").read_bytes()


def test_a_service_that_is_not_there_or_is_another(page: Path, fake: Any, start: Any) -> None:
    result = run(page, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/model: no connection: " in result.stderr
    result = run(page, "--url", "127.0.0.1:9")
    assert result.exit_code == 2
    assert "the address of a service is like http://127.0.0.1:8000" in result.stderr
    with start() as server:
        result = run(page, "--url", f"http://127.0.0.1:{server.port}/elsewhere")
    assert result.exit_code == 1
    assert "This address does not exist" in result.stderr


def test_a_key_of_the_service(page: Path, fake: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with start(api_key="old, new") as server:
        remote = (page, "--json", "--url", f"http://127.0.0.1:{server.port}")
        for wrong in ((), ("--api-key", "wrong")):
            result = run(*remote, *wrong)
            assert result.exit_code == 1
            assert "Send an API key" in result.stderr
        assert run(*remote, "--api-key", "new").exit_code == 0
        monkeypatch.setenv("ACT_DETR_API_KEY", "old, new")  # as the service's own environment has it
        assert run(*remote).exit_code == 0


def test_options_of_the_other_kind_of_detection_are_refused(
    page: Path, fake: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in (("--model", "detr-r50"), ("--device", "cpu"), ("--cache-dir", "x")):
        result = run(page, *option, "--url", "http://127.0.0.1:9")
        assert (result.exit_code, f"{option[0]} cannot be combined with --url" in result.stderr) == (2, True)
    for option in (("--api-key", "x"), ("--concurrency", 2)):
        result = run(page, *option)
        assert (result.exit_code, f"{option[0]} needs --url" in result.stderr) == (2, True)
    monkeypatch.setenv("ACT_DETR_MODEL", "detr-r50")
    monkeypatch.setenv("ACT_DETR_DEVICE", "cpu")
    with start() as server:
        assert run(page, "--url", f"http://127.0.0.1:{server.port}").exit_code == 0


def test_options_that_the_service_leaves_open_are_its_own(page: Path, fake: Any, start: Any) -> None:
    with start(attention="exact", threshold=0.95) as server:
        line = json.loads(run(page, "--json", "--url", f"http://127.0.0.1:{server.port}").stdout)
    assert (line["detections"], line["attention"]["reason"]) == ([], "the default of this service")


def test_a_service_that_goes_away_stops_the_run(
    folder: Path, fake: Any, start: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote_detection, "_PATIENT", RetryPolicy(attempts=2, first_delay=0.01))
    with start() as server:
        source = remote_detection.remote_source(f"http://127.0.0.1:{server.port}", None, 2, {})
    run = DetectionRun(source, save=None, as_json=True, journal=None)
    assert run.detect(found_images([folder])) == 1
    written = capsys.readouterr().err
    assert re.match(r"stopped: http://127.0.0.1:\d+/livez: no connection: ", written)
    assert "5 files: 0 detected, 5 failed\n" in written
