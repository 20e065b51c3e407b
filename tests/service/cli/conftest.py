"""The environment that the tests of all commands start from."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACT_DETR_MODEL", "ACT_DETR_DEVICE", "ACT_DETR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
