"""The pictures of the web page are taken from a running service."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from deploy.local_server import ROOT
from deploy.screenshots import HEIGHT, WIDTH

MAX_BYTES = 300_000


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (apt-get install chromium)")
def test_pictures_are_small_enough_for_a_readme(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.screenshots", "--folder", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=250)  # a second loop of Playwright needs its own process
    for name in ("page-compare.png", "page-explain.png"):
        assert (tmp_path / name).stat().st_size <= MAX_BYTES
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (WIDTH, HEIGHT)
            assert len(picture.convert("RGB").getcolors(WIDTH * HEIGHT)) > 100
