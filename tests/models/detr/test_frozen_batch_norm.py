"""Frozen batch norm against torchvision's."""

import torch
import torchvision

from models.detr.frozen_batch_norm import FrozenBatchNorm2d


def test_is_torchvisions_and_loads_its_checkpoints():
    generator = torch.Generator().manual_seed(0)
    theirs, ours = torchvision.ops.FrozenBatchNorm2d(5), FrozenBatchNorm2d(5)
    state = {name: torch.rand(5, generator=generator) + 0.1 for name in theirs.state_dict()}
    for norm in (theirs, ours):
        norm.load_state_dict(state | {"num_batches_tracked": torch.tensor(3)})
    x = torch.randn(2, 5, 3, 4, generator=generator)
    torch.testing.assert_close(ours(x), theirs(x))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert not list(ours.parameters())
