from pathlib import Path

import pytest
from PIL import Image

from deploy.explanation_picture import PICTURE, explained_sample, main


def test_the_document_has_a_picture_as_it_is_drawn_now(tmp_path: Path) -> None:
    """Pixels may differ with how a CPU rounds."""
    main(tmp_path / "explanation.png")
    drawn, shown = Image.open(tmp_path / "explanation.png"), Image.open(PICTURE)
    assert drawn.size == shown.size
    assert PICTURE.stat().st_size < 200_000


def test_the_documents_example_is_what_the_picture_shows() -> None:
    explanation, attended, panels = explained_sample()
    assert (explanation.cluster_count, explanation.grid, attended.row, attended.column) == (8, (29, 22), 15, 13)
    assert attended.difference == pytest.approx(0.0392, abs=2e-3)
    assert attended.approximate is not None
    assert attended.approximate.min() < 0 < attended.exact.min()
    assert len(set(panels)) == 3
