from models.attention.act import ActAttention
from models.attention.exact import ExactAttention
from models.attention.factory import AUTO_MIN_TOKENS, auto_attention, make_attention
from models.attention.kmeans import KMeansAttention
from models.attention.tangent import TangentAttention
from models.config import AttentionConfig


def test_strategies_carry_the_callers_settings():
    assert isinstance(make_attention(AttentionConfig.exact()), ExactAttention)
    assert make_attention(AttentionConfig.act(20, 3.5, 7)) == ActAttention(20, 3.5, 7)
    assert make_attention(AttentionConfig.act(20, 3.5, 7, "key")) == ActAttention(20, 3.5, 7, "key")
    assert make_attention(AttentionConfig.kmeans(20, 3, 7, "key")) == KMeansAttention(20, 3, 7, "key")
    assert make_attention(AttentionConfig.tangent(20, 5, 3, "query")) == TangentAttention(20, 5, 3, "query")


def test_auto_is_exact_up_to_a_token_count():
    assert auto_attention(AUTO_MIN_TOKENS - 1, AttentionConfig.act(20, 3.0)) == AttentionConfig.exact()
    assert auto_attention(AUTO_MIN_TOKENS, AttentionConfig.act(20, 3.0)) == AttentionConfig.act(20, 3.0)
