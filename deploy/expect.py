"""The check of a step-by-step run: it prints what it observed, and ends the program where that is wrong."""

from __future__ import annotations


def expect(holds: bool, observed: str) -> None:
    """Print what was observed. Raises SystemExit with status 1 unless it `holds`."""
    print(("ok    " if holds else "FAIL  ") + observed, flush=True)
    if not holds:
        raise SystemExit(1)
