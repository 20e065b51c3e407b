from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def qkv() -> Callable[..., list[Tensor]]:
    """Return a function that draws q, k, v [images, heads, tokens, dim], the same every time.

    In float64, where rounding pushes no query over a hash plane or to another centre.
    """

    def draw(
        images: int = 2, heads: int = 3, tokens: int = 50, dim: int = 16, dtype: torch.dtype = torch.float64
    ) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1)
        return [torch.randn(images, heads, tokens, dim, generator=generator, dtype=dtype) for _ in range(3)]

    return draw
