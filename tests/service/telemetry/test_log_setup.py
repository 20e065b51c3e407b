from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

from service.telemetry.log_setup import JsonFormatter, TextFormatter

ROOT = Path(__file__).parents[3]


def record(message: str = "request", **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "act_detr", **extra})


def test_json_is_one_line_with_the_extras() -> None:
    text = JsonFormatter().format(record("two\nlines", request_id="4f", stages_ms={"queue": 1.5}))
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["message"], line["request_id"]) == ("info", "two\nlines", "4f")
    assert line["stages_ms"] == {"queue": 1.5}
    assert line["time"].endswith("+00:00")


def test_json_keeps_a_traceback_on_the_line() -> None:
    try:
        raise ValueError("oh")
    except ValueError:
        text = JsonFormatter().format(record(exc_info=sys.exc_info()))
    assert "\n" not in text
    assert "ValueError: oh" in json.loads(text)["exception"]


def test_text_shows_the_extras() -> None:
    assert TextFormatter().format(record(status=200)).endswith("request status=200")


def test_broken_tiff_files_write_nothing_past_the_log() -> None:
    script = """
import io, sys
from PIL import Image
if "quiet" in sys.argv:
    from service.telemetry.log_setup import configure_logging
    configure_logging("debug", "json")
buffer = io.BytesIO()
Image.radial_gradient("L").convert("1").save(buffer, "TIFF", compression="group4")
data = bytearray(buffer.getvalue())
start = Image.open(buffer).tag_v2[273][0]
data[start + 20 : start + 80] = b"\\x55" * 60
try: Image.open(io.BytesIO(bytes(data))).load()
except Exception: pass
"""

    def stderr(*arguments: str) -> str:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stderr

    assert "Fax4Decode" in stderr()
    assert "Fax4Decode" not in stderr("quiet")
