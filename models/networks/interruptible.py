"""A network that can be stopped while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from models.networks.network import Network


class Interrupted(Exception):
    """A run was stopped before its end, as asked for."""


def interruptible(network: Network, stop: Callable[[], bool]) -> Network:
    """Return a network with the same weights, in the same memory, that raises Interrupted once `stop()` is true.

    It asks before every module: each block of a backbone, each layer of a transformer and their parts. What runs
    between two of these questions, a convolution or the attention of one layer, ends first. On a GPU it waits for what
    has been launched before it asks, or all would be launched by then. The other network asks nothing.
    """
    parts = [network.module, *([] if network.mask_head is None else [network.mask_head])]
    weights = {id(one): one for part in parts for one in (*part.parameters(), *part.buffers())}
    twin = copy.deepcopy(network, dict[int, Any](weights))
    on_gpu = any(one.is_cuda for one in weights.values())

    def ask(_: nn.Module, __: Any) -> None:
        if on_gpu:
            torch.cuda.current_stream().synchronize()
        if stop():
            raise Interrupted

    for module in twin.module.modules():
        module.register_forward_pre_hook(ask)
    return twin
