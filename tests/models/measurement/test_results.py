import json

from models.measurement.results import write_results


def test_results_are_written_whole_into_a_new_folder(tmp_path):
    path = tmp_path / "results" / "run.json"
    write_results(path, {"ap": 0.5, "rows": [1, 2]})
    assert json.loads(path.read_text()) == {"ap": 0.5, "rows": [1, 2]}
    assert list(path.parent.iterdir()) == [path]


def test_without_a_path_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_results(None, {"ap": 0.5})
    assert not list(tmp_path.iterdir())
