from models.attention.act import ActAttention
from models.attention.choice import AUTO_MIN_TOKENS, auto_attention, strategy
from models.attention.exact import ExactAttention
from models.config import AttentionConfig


def test_strategies_carry_the_callers_settings():
    assert isinstance(strategy(AttentionConfig.exact()), ExactAttention)
    assert strategy(AttentionConfig.act(20, 3.5, 7)) == ActAttention(20, 3.5, 7)


def test_auto_is_exact_up_to_a_token_count():
    assert auto_attention(AUTO_MIN_TOKENS - 1, AttentionConfig.act(20, 3.0)) == AttentionConfig.exact()
    assert auto_attention(AUTO_MIN_TOKENS, AttentionConfig.act(20, 3.0)) == AttentionConfig.act(20, 3.0)
