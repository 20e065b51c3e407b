"""How far a cluster's copied or tangent output can be from exact attention: bounds from the cluster's radius.

Let f(t) be exact attention's output at p + t d, for a prototype p and a step d to a member; A the weights there.
Keys enter by the logit shifts δ_j = d·k_j / sqrt(D). Let h be half their range over the keys, and R the radius of
a ball that holds all values. Then

    f' = Cov_A(δ, v)      f'' = Cov_A((δ - E_A δ)², v)

A unit vector u turns either into the covariance of two numbers, at most the product of their standard deviations:
that of u·v is at most R, that of δ at most h. That of (δ - E δ)² is at most h² (below). So by Taylor's theorem

    copy:     ‖f(1) - f(0)‖         ≤ h R
    tangent:  ‖f(1) - f(0) - f'(0)‖ ≤ h² R / 2

A derivative borrowed from a centre s, whose shifts from there to p have half range g, is off by what f' changes on the
way: Cov_A((δ - E δ)(ε - E ε), v), ε the shifts of p - s. With x = δ/h and y = ε/g, the product is h g/4 times
the difference of the squares of x + y and x - y, whose half ranges are at most 2, each square's deviation thus at
most 4: in all 2 h g R more.

Why the deviation of (δ - E δ)² is at most h²: let Z = δ - E δ lie in [-a, b], a + b = 2h, b ≥ a (else mirror), and
s = E Z² ≤ ab. From (Z + a)(b - Z) ≥ 0 times Z²: E Z⁴ ≤ ab s + (b - a) E Z³. From (b - Z)(Z + s/b)² ≥ 0:
E Z³ ≤ bs - s²/b. Together Var Z² = E Z⁴ - s² ≤ b² s - (2 - a/b) s², whose maximum for 0 ≤ s ≤ ab is at most h⁴,
reached at b = (1 + 1/√2) h by a distribution on -a and b alone.

h itself is the maximum over all keys and would cost as much as exact attention; `shift_radius` bounds it at O(N D).
These are bounds, not estimates: they hold for every query, and are loose because no real layer has all of its keys
at the worst place. `probed_error` estimates, and does not bound: it computes a few queries exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from models.clustering.metrics import metric_factor, metric_matrix


def copy_bound(step: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Upper bound, float64 [..., N], of the error of copying; steps [..., N, D] from prototypes to members."""
    return value_radius(v) * shift_radius(step, k).clamp(max=2)


def tangent_bound(step: Tensor, k: Tensor, v: Tensor, borrowed: Tensor | None = None) -> Tensor:
    """Upper bound, float64 [..., N], of the error of the tangent; steps [..., N, D] from prototypes to members.

    `borrowed` [..., N, D]: from where the derivative was taken to the prototype, where that is another place.
    """
    radius = shift_radius(step, k)
    factor = radius / 2
    if borrowed is not None:
        factor = factor + 2 * shift_radius(borrowed, k)
    # Further out, the copy's error, at most 2 R, and the tangent's own length, at most h R, say more.
    return value_radius(v) * torch.minimum(radius * factor, radius + radius.clamp(max=2))


def shift_radius(step: Tensor, k: Tensor) -> Tensor:
    """Upper bound of half the range of step·k_j / sqrt(D) over the keys: float64 [..., N] of [..., N, D] and k.

    Cauchy and Schwarz twice: with lengths as they are, and with lengths in which the keys are round (any
    invertible F allows |d·k| = |dF · F⁻¹k|, and F from the key metric makes dF short). The lesser of the two counts.
    """
    step, k = step.double(), k.double()
    keys = k - k.mean(-2, keepdim=True)
    matrix = metric_matrix("key", keys, keys)
    assert matrix is not None  # noqa: S101 (only `query` has none)
    factor = metric_factor(matrix)
    leverage = torch.linalg.solve_triangular(factor, keys.mT, upper=False)
    plain = step.norm(dim=-1) * keys.norm(dim=-1).amax(-1, keepdim=True)
    rounded = (step @ factor).norm(dim=-1) * leverage.norm(dim=-2).amax(-1, keepdim=True)
    scale: float = k.shape[-1] ** -0.5
    return torch.minimum(plain, rounded) * scale


def value_radius(v: Tensor) -> Tensor:
    """The greatest distance of a value [..., N, D] from their mean: float64 [..., 1]."""
    v = v.double()
    lengths: Tensor = (v - v.mean(-2, keepdim=True)).norm(dim=-1)
    return lengths.amax(-1, keepdim=True)


def probed_error(values: Tensor, q: Tensor, k: Tensor, v: Tensor, probes: int = 32) -> Tensor:
    """Estimate the relative error of approximate outputs [B, H, N, D]: [B, H], by computing `probes` queries exactly.

    ‖approximate - exact‖ / ‖exact‖ over evenly spread positions. Costs as much as `probes` clusters.
    """
    tokens = q.shape[-2]
    places = torch.arange(min(probes, tokens), device=q.device) * tokens // min(probes, tokens)
    exact = scaled_dot_product_attention(q[..., places, :], k, v)
    error: Tensor = (values[..., places, :] - exact).flatten(-2).norm(dim=-1)
    length: Tensor = exact.flatten(-2).norm(dim=-1)
    return error / length.clamp(min=torch.finfo(exact.dtype).tiny)
