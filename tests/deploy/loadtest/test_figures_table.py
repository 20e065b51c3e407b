"""The figures in the docs are those that the runs wrote."""

from __future__ import annotations

import pytest

from deploy.loadtest import figures_table


def test_the_document_has_the_figures_that_were_committed() -> None:
    document = figures_table.DOCUMENT.read_text(encoding="utf-8")
    assert figures_table.inserted(document, figures_table.markdown()) == document
    with pytest.raises(ValueError, match="no place"):
        figures_table.inserted("nothing here", "table")
