from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from deploy.loadtest.tracing_cost import collector, main


def test_the_collector_counts_what_it_takes() -> None:
    with collector() as (url, exports):
        for size in (3, 5):
            assert httpx.post(f"{url}/v1/traces", content=b"x" * size, trust_env=False).status_code == 200
    assert exports == [3, 5]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("opentelemetry.exporter") is None, reason="needs pip install '.[otel]'")
def test_the_program_compares_two_real_services(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    main(["--seconds", "0.3", "--rounds", "1", "--callers", "1", "--image", str(image), "--output", str(output)])
    written = json.loads(output.read_text())
    assert len(written["off"]) == len(written["on"]) == 1
    assert written["span_bytes"] > 0
