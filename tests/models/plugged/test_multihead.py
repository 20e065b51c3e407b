"""Plain torch's encoders: attention plugged into `torch.nn.MultiheadAttention`, in place."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.plugged import CannotCluster, CannotPlug, attention_settings, plug_into, unplug

WIDTH, HEADS, TOKENS = 32, 4, 30
KEPT = torch.ones(2, TOKENS, dtype=torch.bool)
KEPT[1, 20:] = False
CLOSE = 1e-9
"""Of float64 values near 1: far above rounding, far below what few clusters change."""

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")


class EncoderLayer(nn.Module):
    """As in DETR: positions are added to queries and keys, not to values; the sequence comes first."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(WIDTH, HEADS, **options)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor, positions: Tensor, padding: Tensor | None) -> Tensor:
        placed = tokens + positions
        attended = self.self_attn(placed, placed, value=tokens, attn_mask=None, key_padding_mask=padding)[0]
        out: Tensor = self.norm(tokens + attended)
        return out


class DecoderLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(WIDTH, HEADS)
        self.multihead_attn = nn.MultiheadAttention(WIDTH, HEADS)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor, padding: Tensor | None) -> Tensor:
        queries = queries + self.self_attn(queries, queries, value=queries)[0]
        attended = self.multihead_attn(queries, memory + positions, value=memory, key_padding_mask=padding)[0]
        return queries + attended


class Encoder(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(**options) for _ in range(2))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(2))


class Transformer(nn.Module):
    """A DETR's transformer: tokens and positions [N, B, d], padding bool [B, N], True where there is none."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(**options), Decoder()

    def forward(self, tokens: Tensor, positions: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        for layer in self.encoder.layers:
            tokens = layer(tokens, positions, padding)
        queries = tokens.new_ones(5, tokens.shape[1], WIDTH)
        for layer in self.decoder.layers:
            queries = layer(queries, tokens, positions, padding)
        return tokens, queries


def make(build: Callable[..., nn.Module] = Transformer, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = build(**options)
    for weight in model.parameters():
        nn.init.normal_(weight, std=1.5 * weight.shape[-1] ** -0.5 if weight.dim() > 1 else 0.3)
    return model.eval().double()


def detr_inputs() -> tuple[Tensor, Tensor, Tensor]:
    tokens, positions = torch.randn(2, TOKENS, 2, WIDTH, dtype=torch.float64)
    return tokens, positions, ~KEPT


def kept_only(tokens: Tensor) -> Tensor:
    """Tokens [N, B, d] that are not padding."""
    return tokens.transpose(0, 1)[KEPT]


@pytest.mark.parametrize("settings", ["tangent:C=30", "kmeans:C=30", "act:L=32,r=1e-06"])
@torch.no_grad()
def test_a_detrs_encoder_is_clustered_and_nothing_else(settings: str) -> None:
    model, inputs = make(), detr_inputs()
    tokens, queries = model(*inputs)
    assert plug_into(model, settings) == ["encoder.layers.0.self_attn", "encoder.layers.1.self_attn"]
    with attention_settings() as run:
        plugged_tokens, plugged_queries = model(*inputs)
    assert [counts.tolist() for counts in run.cluster_counts] == [[[30] * HEADS, [20] * HEADS]] * 2
    assert run.tokens == [30, 20]
    assert (kept_only(plugged_tokens) - kept_only(tokens)).abs().max() < CLOSE
    assert (plugged_queries - queries).abs().max() < CLOSE
    plug_into(model, "kmeans:C=2")
    with attention_settings() as run:
        changed = model(*inputs)[0]
    assert (kept_only(changed) - kept_only(tokens)).abs().max() > 0.01
    assert {int(counts.max()) for counts in run.cluster_counts} == {2}
    with attention_settings("exact"):
        assert torch.equal(model(*inputs)[0], tokens)


@torch.no_grad()
def test_unplugged_it_is_what_it_was_bit_for_bit() -> None:
    model, inputs = make(), detr_inputs()
    before, notes = model(*inputs), [dict.fromkeys(module.__dict__) for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    plug_into(model, "tangent:C=3")
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state)
    assert isinstance(model.encoder.layers[0].self_attn, nn.MultiheadAttention)
    model(*inputs)
    unplug(model)
    assert type(model.encoder.layers[0].self_attn) is nn.MultiheadAttention
    assert [dict.fromkeys(module.__dict__) for module in model.modules()] == notes
    assert all(torch.equal(*pair) for pair in zip(model(*inputs), before, strict=True))
    unplug(model)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs", ["one tensor", "query is key", "three tensors"])
@torch.no_grad()
def test_multihead_attention_in_every_layout(batch_first: bool, bias: bool, inputs: str) -> None:
    attention = make(nn.MultiheadAttention, embed_dim=WIDTH, num_heads=HEADS, batch_first=batch_first, bias=bias)
    q, k, v = torch.randn(3, *((2, TOKENS) if batch_first else (TOKENS, 2)), WIDTH, dtype=torch.float64)
    if inputs != "three tensors":
        k = q
    if inputs == "one tensor":
        v = q
    exact = attention(q, k, v, key_padding_mask=~KEPT)[0]
    alone = attention(*(x.select(1 - batch_first, 0) for x in (q, k, v)))[0]
    assert plug_into(attention, "kmeans:C=30") == [""]
    for padding in (~KEPT, torch.zeros(KEPT.shape, dtype=torch.float64).masked_fill(~KEPT, -torch.inf)):
        clustered, weights = attention(q, k, v, key_padding_mask=padding)
        assert weights is None
        assert clustered.shape == exact.shape
        difference = (clustered - exact) if batch_first else (clustered - exact).transpose(0, 1)
        assert difference[KEPT].abs().max() < CLOSE
    unbatched = attention(*(x.select(1 - batch_first, 0) for x in (q, k, v)))[0]
    assert (unbatched - alone).abs().max() < CLOSE
    one_image = attention(
        *(x.select(1 - batch_first, 1) for x in (q, k, v)), key_padding_mask=~KEPT[1], need_weights=False
    )[0]
    second = exact.select(1 - batch_first, 1)
    assert (one_image - second)[KEPT[1]].abs().max() < CLOSE


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_torchs_own_encoder_is_clustered_in_evaluation_too(
    norm_first: bool,
    batch_first: bool,
    gradients: bool,
) -> None:
    def build() -> nn.Module:
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=batch_first, norm_first=norm_first)
        return nn.TransformerEncoder(layer, 2)

    encoder = make(build)
    tokens = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
    tokens = tokens if batch_first else tokens.transpose(0, 1)
    with torch.set_grad_enabled(gradients):
        exact = encoder(tokens, src_key_padding_mask=~KEPT)
        names = plug_into(encoder, "tangent:C=30")
        assert names == ["layers.0.self_attn", "layers.1.self_attn"]
        with attention_settings() as run:
            plugged = encoder(tokens, src_key_padding_mask=~KEPT)
            without = encoder(tokens)
        with attention_settings(C=3):
            changed = encoder(tokens)
        unplug(encoder)
        assert torch.equal(encoder(tokens, src_key_padding_mask=~KEPT), exact)
    assert len(run.cluster_counts) == 4
    difference = plugged - exact if batch_first else (plugged - exact).transpose(0, 1)
    assert difference[KEPT].abs().max() < CLOSE
    assert (changed - without).abs().max() > 1e-3


@torch.no_grad()
def test_torchs_transformer_keeps_its_decoder() -> None:
    model = make(lambda: nn.Transformer(WIDTH, HEADS, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=32))
    assert plug_into(model, "kmeans:C=3") == ["encoder.layers.0.self_attn", "encoder.layers.1.self_attn"]


def test_what_clusters_cannot_compute_is_refused() -> None:
    attention = make(nn.MultiheadAttention, embed_dim=WIDTH, num_heads=HEADS, dropout=0.1)
    tokens = torch.randn(TOKENS, 2, WIDTH, dtype=torch.float64)
    plug_into(attention, "tangent:C=3")
    causal = torch.ones(TOKENS, TOKENS).triu(1).bool()
    for mask in ({"attn_mask": causal}, {"attn_mask": causal, "is_causal": True}):
        with pytest.raises(CannotCluster, match=r"tangent:C=3 is plugged into a \w+, but it is called with attn_mask"):
            attention(tokens, tokens, tokens, **mask)
    with pytest.raises(CannotCluster, match="key_padding_mask does more than hide padding"):
        attention(tokens, tokens, tokens, key_padding_mask=torch.full((2, TOKENS), -1.0, dtype=torch.float64))
    attention.train()
    with pytest.raises(CannotCluster, match=r"dropout 0\.1 in training"):
        attention(tokens, tokens, tokens)
    with attention_settings("exact"):
        assert attention(tokens, tokens, tokens, attn_mask=causal)[1] is not None
    memory = torch.randn(7, 2, WIDTH, dtype=torch.float64)
    with attention_settings() as run:
        assert attention(tokens, memory, memory)[1].shape == (2, TOKENS, 7)
    assert run.cluster_counts == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"add_zero_attn": True}, "add_zero_attn"), ({"add_bias_kv": True}, "add_bias_kv"), ({"kdim": 8}, "kdim")],
)
def test_attention_of_another_form_is_refused(options: dict[str, Any], reason: str) -> None:
    model = Transformer(**options)
    with pytest.raises(CannotPlug, match=rf"encoder.layers.0.self_attn of Transformer cannot be clustered: .*{reason}"):
        plug_into(model, "tangent")
    assert type(model.encoder.layers[0].self_attn) is nn.MultiheadAttention


def test_settings_that_make_no_sense_are_refused_before_anything_changes() -> None:
    model = Transformer()
    with pytest.raises(ValueError, match="unplug takes out"):
        plug_into(model, "exact")
    with pytest.raises(ValueError, match="the mode must be one of"):
        plug_into(model, "wave")
    with pytest.raises(CannotPlug, match="nothing in Decoder can be clustered"):
        plug_into(model.decoder, "tangent")
    with pytest.raises(CannotPlug, match="nothing in Linear can be clustered"):
        plug_into(nn.Linear(2, 2), "tangent")
    assert all(type(module) is nn.MultiheadAttention for module in model.modules() if hasattr(module, "num_heads"))


@torch.no_grad()
def test_copies_and_saved_models_stay_plugged() -> None:
    model, inputs = make(), detr_inputs()
    exact = model(*inputs)[0]
    plug_into(model, "tangent:C=3")
    plugged = model(*inputs)[0]
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(other(*inputs)[0], plugged)
        unplug(other)
        assert torch.equal(other(*inputs)[0], exact)
    assert torch.equal(model(*inputs)[0], plugged)


@torch.no_grad()
def test_compiled_it_computes_the_same() -> None:
    model, inputs = make(), detr_inputs()
    plug_into(model, "tangent:C=3")
    expected = model(*inputs)[1]
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    with attention_settings() as run:
        torch.testing.assert_close(compiled(*inputs)[1], expected)
    assert run.tokens == [30, 20]
    assert len(run.cluster_counts) == 2
