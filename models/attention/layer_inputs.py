"""What one encoder layer attends with for an image, and how to get at it without running what comes after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from models.attention.strategy import Attended, AttentionStrategy, SizedStrategy


@dataclass(frozen=True, slots=True)
class AttentionInputs:
    """Projected, unscaled q, k, v [1, H, N, D] of one encoder layer for one image.

    Where the encoder's tokens were merged, N are left of them: `sizes` float32 [1, N] says how many each one stands
    for, and `stands_for`, int64 with an entry for each that there was, which stands for it. None: nothing was merged.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    sizes: Tensor | None = None
    stands_for: Tensor | None = None

    @property
    def tokens(self) -> int:
        """N."""
        return self.q.shape[-2]

    @property
    def heads(self) -> int:
        """H."""
        return self.q.shape[1]

    @property
    def head_dim(self) -> int:
        """Width D of a head."""
        return self.q.shape[-1]

    @property
    def scaled_queries(self) -> Tensor:
        """Q / sqrt(D) [H, N, D], the units of the published (L, r)."""
        scaled: Tensor = self.q[0] / self.head_dim**0.5
        return scaled


def inputs_of_layer(
    run: Callable[[AttentionStrategy], object], attention: AttentionStrategy, layer: int
) -> AttentionInputs:
    """What the layer of this index, from 0, attends with.

    `run` runs an encoder on one image, whose layers attend one after another by the strategy that it is given. In the
    layers before, that is `attention`; nothing of this layer's attention or of what follows is computed. Raises
    ValueError where fewer layers attend.
    """
    try:
        run(_UntilLayer(attention, layer))
    except _LayerReached as reached:
        return reached.inputs
    raise ValueError(f"no layer of index {layer} attends")


class _LayerReached(Exception):
    """Ends a run from inside: models of other libraries have no way to run only their first layers."""

    def __init__(self, inputs: AttentionInputs) -> None:
        super().__init__()
        self.inputs = inputs


@dataclass(slots=True)
class _UntilLayer:
    """A strategy as it is in the next `before` layers; the one after them is reached."""

    attention: AttentionStrategy
    before: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Attended:
        """Attend with q, k, v [1, H, N, D], or raise _LayerReached."""
        if self.before == 0:
            raise _LayerReached(AttentionInputs(q, k, v))
        self.before -= 1
        return self.attention(q, k, v)

    def attend_sized(self, q: Tensor, k: Tensor, v: Tensor, sizes: Tensor) -> Attended:
        """Attend where keys stand for as many tokens as sizes float32 [1, N] says, or raise _LayerReached."""
        if self.before == 0:
            raise _LayerReached(AttentionInputs(q, k, v, sizes))
        self.before -= 1
        return cast("SizedStrategy", self.attention).attend_sized(q, k, v, sizes)

    def multiply_adds(self, tokens: int, heads: int, head_dim: int, clusters: int) -> int:
        """Those of the strategy."""
        return self.attention.multiply_adds(tokens, heads, head_dim, clusters)
