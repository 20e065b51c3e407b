from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.masks.masks import Masks


@pytest.fixture
def some_masks() -> Callable[[int], Masks]:
    """Return a function of a seed that gives one mask of an odd shape: of several parts, with holes, thin or full."""

    def make(seed: int) -> Masks:
        generator = np.random.default_rng(seed)
        rows, columns = generator.integers(1, 9, 2)
        height, width = (int(side) for side in generator.integers(1, 50, 2))
        cells = generator.random((1, rows, columns), np.float32) ** generator.choice([0.3, 1, 4])
        return Masks(cells.astype(np.float32), (float(rows), float(columns)), height, width)

    return make
