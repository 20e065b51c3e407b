import math

import torch

from models.detr.position_encoding import EPSILON, sine_positions

CPU = torch.device("cpu")
ROUNDING = 8 * math.pi * torch.finfo(torch.float32).eps
"""Of an angle up to 2 pi: place, normalisation, frequency and sine round once each in float32."""


def test_first_half_is_y_second_is_x():
    grid = sine_positions(3, 5, 16, CPU, torch.float32).view(3, 5, 16)
    assert torch.equal(grid[:, 0, :8], grid[:, 4, :8])
    assert torch.equal(grid[0, :, 8:], grid[2, :, 8:])
    assert not torch.equal(grid[0, 0, :8], grid[1, 0, :8])


def test_positions_are_normalised_to_two_pi_and_interleaved():
    (row,) = sine_positions(1, 1, 8, CPU, torch.float64)
    fast = 2 * math.pi / (1 + EPSILON)
    slow = fast / 10000 ** (2 / 4)
    expected = [math.sin(fast), math.cos(fast), math.sin(slow), math.cos(slow)] * 2
    torch.testing.assert_close(row, torch.tensor(expected, dtype=torch.float64), atol=ROUNDING, rtol=0)


def test_the_last_position_is_the_same_at_any_size():
    small, large = (sine_positions(side, side, 32, CPU, torch.float32)[-1] for side in (2, 50))
    torch.testing.assert_close(small, large, atol=2 * math.pi * EPSILON + 2 * ROUNDING, rtol=0)
