import json

from models.training.run_log import RunLog


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curve(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_a_run_that_goes_on_leaves_no_gap_and_no_repeat(tmp_path):
    with RunLog(tmp_path, 0) as log:
        for step in range(1, 6):
            log.write(step, {"total": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "tot')  # killed while writing
    with RunLog(tmp_path, 3) as log:
        for step in range(4, 8):
            log.write(step, {"total": 10.0 * step})
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0), (6, 60.0), (7, 70.0)]
    assert [(row["step"], row["total"]) for row in rows(tmp_path)] == expected
    assert curve(tmp_path, "total") == expected


def test_a_silent_log_writes_nothing(tmp_path):
    with RunLog(tmp_path, 0, silent=True) as log:
        log.write(1, {"total": 1.0})
    assert list(tmp_path.iterdir()) == []
