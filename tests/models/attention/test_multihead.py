import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention.multihead import MultiheadAttention
from models.images import PackedTokens


@pytest.fixture
def pair():
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True).double()
    ours = MultiheadAttention(32, 4).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def test_packed_images_attend_as_pytorch_does_one_by_one(pair):
    ours, theirs = pair
    values, positions = torch.randn(2, 11, 32, dtype=torch.float64)
    packed = PackedTokens(values, positions, (3, 3, 5))
    attended, counts = ours.attend_packed(packed, ExactAttention())
    assert counts == [None, None]
    for start, end in ((0, 3), (3, 6), (6, 11)):
        q = (values + positions)[None, start:end]
        expected, _ = theirs(q, q, values[None, start:end])
        torch.testing.assert_close(attended[start:end], expected[0])


def test_masked_dense_attention_is_pytorchs(pair):
    ours, theirs = pair
    x = torch.randn(2, 7, 32, dtype=torch.float64)
    may_look = torch.rand(7, 7) > 0.4
    may_look.fill_diagonal_(True)
    q, k, v = ours.project(x, 0, 3)
    expected, _ = theirs(x, x, x, attn_mask=~may_look)
    torch.testing.assert_close(ours.attend_dense(q, k, v, may_look), expected)
