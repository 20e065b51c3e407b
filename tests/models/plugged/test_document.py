"""The examples of docs/plug-in.md run as they are printed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

PAGE = Path(__file__).parents[3] / "docs" / "plug-in.md"


def test_examples_run(
    make_family: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_family("DETR", torch.float32).model.save_pretrained(tmp_path / "my-detr")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    capsys.readouterr()
    variables: dict[str, Any] = {}
    exec(blocks[0], variables)
    counts, tokens = (ast.literal_eval(part) for part in re.split(r" (?=\[\d+\]$)", capsys.readouterr().out.strip()))
    assert counts == [[[32] * 4]] * 3
    assert tokens == [15 * 20]
    exec(blocks[1], variables)
    assert variables["model"].config._attn_implementation == "kmeans"
    exec(blocks[2], variables)
    assert type(variables["encoder"].layers[0].self_attn).__name__ == "PluggedMultiheadAttention"
