import pytest
import torch

from models.attention.act import ActAttention
from models.attention.layer_inputs import inputs_of_layer


def test_a_run_ends_where_its_layer_begins(qkv):
    q, k, v = qkv(images=1)
    attention, entered = ActAttention(L=4, r=2.0), []

    def run(strategy):
        x = q
        for layer in range(4):
            entered.append(layer)
            x = strategy(x, k, v).values

    for layer in range(4):
        entered.clear()
        inputs = inputs_of_layer(run, attention, layer)
        expected = q
        for _ in range(layer):
            expected = attention(expected, k, v).values
        assert torch.equal(inputs.q, expected)
        assert inputs.k is k
        assert entered == list(range(layer + 1))
    with pytest.raises(ValueError, match="index 4"):
        inputs_of_layer(run, attention, 4)
