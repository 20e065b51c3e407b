"""The comparison of two checkouts, as a program with two real services around a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.loadtest.versions import main
from deploy.local_server import ROOT, LocalServer


@pytest.mark.slow
def test_a_checkout_beside_itself(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    options = ["--seconds", "0.3", "--rounds", "2", "--callers", "1", "--output", str(output)]
    main([str(ROOT), "--image", str(image), *options])
    (row,) = json.loads(output.read_text())["rows"]
    assert row["callers"] == 1
    assert min(row["before"], row["now"]) > 0
    assert 0 < row["least"] <= row["ratio"] <= row["greatest"]


def test_the_other_checkouts_code_runs(tmp_path: Path) -> None:
    package = tmp_path / "service"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("raise SystemExit(7)")
    with LocalServer(root=tmp_path) as server:
        assert server.process.wait(60) == 7


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "is no checkout of act-detr" in capsys.readouterr().err
