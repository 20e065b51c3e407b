import pytest

from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.factory import make_attention, make_merging
from models.attention.kmeans import KMeansAttention
from models.attention.tangent import TangentAttention
from models.attention.token_merging import TokenMerging
from models.attention_config import AttentionConfig


def test_strategies_carry_the_callers_settings():
    assert isinstance(make_attention(AttentionConfig.exact()), ExactAttention)
    assert make_attention(AttentionConfig.act(20, 3.5, 7)) == ActAttention(20, 3.5, 7)
    assert make_attention(AttentionConfig.act(20, 3.5, 7, "key")) == ActAttention(20, 3.5, 7, "key")
    assert make_attention(AttentionConfig.kmeans(20, 3, 7, "key")) == KMeansAttention(20, 3, 7, "key")
    assert make_attention(AttentionConfig.tangent(20, 5, 3, "query")) == TangentAttention(20, 5, 3, "query")


def test_merging_is_made_beside_what_the_rest_attends_by():
    assert make_merging(AttentionConfig.merge(0.25)) == TokenMerging(0.25)
    assert make_merging(AttentionConfig.tangent()) is None
    with pytest.raises(ValueError, match="merges tokens before the encoder"):
        make_attention(AttentionConfig.merge(0.25))
