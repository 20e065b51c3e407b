from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli.output_file import OutputFile
from service.http.schemas import RESULT_EXAMPLE, DetectionResult

RESULT = DetectionResult.model_validate(RESULT_EXAMPLE)
EMPTY = RESULT.model_copy(update={"detections": []})


def coco(folder: Path, *files: str) -> list[dict[str, object]]:
    output = OutputFile(folder / "out.json", None)
    with output.journal(RESULT.model, {}) as journal:
        for file in files:
            journal.append(Path(file), EMPTY if "empty" in file else RESULT)
        output.finish(journal, {"figure": 7})
    rows: list[dict[str, object]] = json.loads(output.path.read_text(encoding="utf-8"))
    return rows


def test_ids_are_the_numbers_of_files_that_are_named_so(tmp_path: Path) -> None:
    rows = coco(tmp_path, "val/000000000139.jpg", "val/x.jpg", "val/empty.jpg")
    assert [row["image_id"] for row in rows] == [139, "val/x.jpg"]
    assert rows[0]["category_id"] == 7


def test_ids_are_paths_where_two_files_have_one_number(tmp_path: Path) -> None:
    assert [row["image_id"] for row in coco(tmp_path, "a/1.jpg", "b/01.jpg")] == ["a/1.jpg", "b/01.jpg"]


def test_a_list_without_detections_is_a_list(tmp_path: Path) -> None:
    assert coco(tmp_path, "empty.jpg") == []


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jsonl", "jsonl"), ("a.NDJSON", "jsonl"), ("a.json", "coco"), ("a.b.csv", "csv")]
)
def test_the_ending_says_the_format(tmp_path: Path, name: str, kind: str) -> None:
    assert OutputFile(tmp_path / name, None).kind == kind
    assert OutputFile(tmp_path / name, "coco").kind == "coco"


def test_a_file_is_written_again_from_all_that_its_journal_has(tmp_path: Path) -> None:
    for files in (("a.jpg",), ("b.jpg",), ()):
        rows = coco(tmp_path, *files)
    assert [row["image_id"] for row in rows] == ["a.jpg", "b.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.json.journal"]


def test_a_class_without_an_id_is_an_error_and_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    before = coco(tmp_path, "a.jpg")
    output = OutputFile(tmp_path / "out.json", None)
    with output.journal(RESULT.model, {}) as journal, pytest.raises(KeyError):
        output.finish(journal, {})
    assert json.loads(output.path.read_text(encoding="utf-8")) == before


def test_tasks_of_label_studio_name_files_as_it_serves_them(tmp_path: Path) -> None:
    output = OutputFile(tmp_path / "tasks.json", "label-studio")
    with output.journal(RESULT.model, {}) as journal:
        journal.append(Path("pages/a b#1.jpg"), RESULT)
        journal.append(Path("empty.jpg"), EMPTY)
        output.finish(journal, {})
    first, second = json.loads(output.path.read_text(encoding="utf-8"))
    assert first["data"] == {"image": "/data/local-files/?d=pages/a%20b%231.jpg"}
    (prediction,) = first["predictions"]
    assert [region["value"]["rectanglelabels"] for region in prediction["result"]] == [["figure"]]
    assert second["predictions"][0]["result"] == []


def test_label_studio_does_not_take_masks_as_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use --masks polygons"):
        OutputFile(tmp_path / "tasks.json", "label-studio").journal(RESULT.model, {"masks": "rle"})
    assert not list(tmp_path.iterdir())
