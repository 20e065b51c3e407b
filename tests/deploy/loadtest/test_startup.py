from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.loadtest.startup import main


@pytest.mark.slow
def test_the_program_starts_a_real_service_and_writes_each_start(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results.json"
    main(["--starts", "2", "--output", str(output)])
    written = json.loads(output.read_text())
    first, second = written["ready_s"]
    assert min(first, second) > 0
    assert (written["first_s"], written["later_median_s"]) == (first, second)
    assert "commit" in written["environment"]
    assert f"ready after {first:.2f} s" in capsys.readouterr().out


def test_one_start_has_nothing_to_be_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--starts", "1"])
    assert "at least" in capsys.readouterr().err
