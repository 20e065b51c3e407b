"""The implementations `act`, `kmeans` and `tangent` inside transformers' models."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import models.plugged.transformers_attention as implementation
from models.plugged import CannotCluster, CannotPlug, attention_settings, plug_into, unplug

transformers = pytest.importorskip("transformers")

ATTENTION = "model.encoder.layers.{}.self_attn"


@contextmanager
def everything_said() -> Iterator[list[str]]:
    """Messages of transformers and of this package, from warnings on."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("transformers", "models.plugged")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        said.extend(str(one.message) for one in caught)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["DETR", "Conditional DETR", "RT-DETR", "ViT", "DINOv2", "YOLOS"])
@pytest.mark.parametrize("loaded", [True, False])
def test_a_name_for_the_implementation_is_all_it_takes(
    make_family: Callable[..., Any], name: str, loaded: bool, tmp_path: Path
) -> None:
    family = make_family(name)
    exact = family.run()
    family.model.save_pretrained(tmp_path)
    with everything_said() as said:
        if loaded:
            family.model = type(family.model).from_pretrained(
                tmp_path, attn_implementation="tangent", dtype=torch.float64
            )
        else:
            family.model.set_attn_implementation("tangent")
        with attention_settings(C=1000) as many:
            outputs = family.run()
        with attention_settings(C=3) as few:
            changed = family.run()
        plain = family.run()
        with attention_settings("exact"):
            taken_out = family.run()
    assert said == []
    assert len(many.cluster_counts) == len(few.cluster_counts) == len(family.attention)
    kept = slice(0, 1) if family.padded else slice(None)
    for key in exact:
        scale = exact[key].abs().max()
        assert (outputs[key][kept] - exact[key][kept]).abs().max() < 1e-8 * scale
        assert (taken_out[key] - exact[key]).abs().max() < 1e-12 * scale
    assert (changed["attended"] - exact["attended"]).abs().max() > 1e-3 * exact["attended"].abs().max()
    assert not torch.equal(plain["attended"], changed["attended"])  # C = 32 by default


@pytest.mark.parametrize("mode", ["act", "kmeans", "tangent"])
def test_an_implementation_has_the_defaults_of_its_mode(make_family: Callable[..., Any], mode: str) -> None:
    family = make_family("DETR")
    family.model.set_attn_implementation(mode)
    plain = family.run()
    with attention_settings(mode):
        assert all(torch.equal(plain[name], value) for name, value in family.run().items())
    unplug(family.model)  # nothing is plugged in: nothing happens
    assert torch.equal(plain["logits"], family.run()["logits"])


def test_roles_are_found_by_the_first_call(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR")
    family.model.set_attn_implementation("kmeans")
    family.run()
    roles = {
        name: module.attention_role
        for name, module in family.model.named_modules()
        if hasattr(module, "attention_role")
    }
    decoder = [f"model.decoder.layers.{i}.{part}" for i in range(2) for part in ("self_attn", "encoder_attn")]
    assert roles == dict.fromkeys(family.attention, "encoder") | dict.fromkeys(decoder, "other")


def test_a_part_that_is_called_alone_is_known_by_its_own_name_or_stays_exact(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR")
    tokens = torch.randn(1, 30, 32, dtype=torch.float64)
    layer, decoder_layer = family.model.model.encoder.layers[0], family.model.model.decoder.layers[0]
    exact = layer.self_attn(tokens)[0]
    family.model.set_attn_implementation("kmeans")
    with attention_settings(C=2) as run:
        with everything_said() as said:
            alone = layer.self_attn(tokens)[0]
        assert len(said) == 1
        assert "called outside of its model" in said[0]
        torch.testing.assert_close(alone, exact)
        assert run.cluster_counts == []
        decoder_layer(tokens, None)
        assert run.cluster_counts == []
        layer(tokens, None)
        assert len(run.cluster_counts) == 1


def test_models_that_share_a_configuration_are_told_apart(make_family: Callable[..., Any]) -> None:
    first, second = make_family("DETR"), make_family("DETR")
    second.model = type(first.model)(first.model.config).eval().double()
    assert second.model.model.encoder.layers[0].self_attn.config is first.model.config
    plug_into(first.model, "kmeans:C=2")
    with attention_settings() as run:
        first.run()
    assert {int(counts.max()) for counts in run.cluster_counts} == {2}
    with attention_settings("kmeans:C=2") as run:
        second.run()
    assert run.cluster_counts == []  # nothing was plugged into it
    unplug(first.model)
    with attention_settings("tangent") as run:
        second.run()
    assert run.cluster_counts == []


def test_another_implementation_set_after_plugging_counts(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR")
    plug_into(family.model, "kmeans:C=2")
    family.model.set_attn_implementation("tangent")
    with attention_settings(C=3) as run:
        family.run()
    assert {int(counts.max()) for counts in run.cluster_counts} == {3}


@pytest.mark.parametrize("name", ["DETR", "ViT"])
def test_dropout_in_training_is_exact_or_refused_where_plugged(make_family: Callable[..., Any], name: str) -> None:
    option = "attention_dropout" if name == "DETR" else "attention_probs_dropout_prob"
    family = make_family(name, **{option: 0.2})
    family.model.set_attn_implementation("tangent")
    family.model.train()
    with everything_said() as said, attention_settings(C=3) as run:
        family.run()
    assert run.cluster_counts == []
    assert sum("dropout 0.2" in message for message in said) == 1
    family.model.eval()
    with attention_settings(C=3) as run:
        family.run()
    assert len(run.cluster_counts) == 3
    plug_into(family.model, "tangent:C=3")
    family.model.train()
    with pytest.raises(CannotCluster, match=r"tangent:C=3 is plugged into a \w+, but it has dropout 0.2 in training"):
        family.run()
    with attention_settings("exact"):
        family.run()


def call_attention(module: nn.Module, mask: Tensor | None = None, **arguments: Any) -> Tensor:
    """What transformers' modules ask for, of [1, 4, 30, 8]."""
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(1, 4, 30, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    own = getattr(module, "plugged_attention", None)
    forward = transformers.AttentionInterface()["kmeans" if own is None else "plugged"]
    values: Tensor = forward(module, q, k, v, mask, **{"scaling": 8**-0.5, "dropout": 0.0} | arguments)[0]
    return values


def encoder_module(plugged: bool = False) -> nn.Module:
    module = nn.Module()
    module.is_causal = False
    module.attention_role = "encoder"
    if plugged:
        module.plugged_attention = implementation.AttentionConfig.kmeans(C=3)
    return module


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("is causal", {"is_causal": True}),
        ("position_bias", {"position_bias": torch.ones(1, 4, 30, 30, dtype=torch.float64).tril()}),
        ("sliding_window", {"sliding_window": 4}),
        ("does more than hide padding", {"mask": torch.ones(1, 1, 30, 30).tril().bool()}),
        ("does more than hide padding", {"mask": torch.linspace(-1, 1, 30, dtype=torch.float64).expand(1, 1, 30, 30)}),
    ],
)
def test_other_attention_is_sdpas_or_refused_where_plugged(reason: str, arguments: dict[str, Any]) -> None:
    with attention_settings(C=3) as run:
        values = call_attention(encoder_module(), **arguments)
    assert run.cluster_counts == []
    mask = arguments.pop("mask", None)
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(1, 4, 30, 8, generator=generator, dtype=torch.float64) for _ in range(3))
    sdpa = transformers.AttentionInterface()["sdpa"]
    assert torch.equal(values, sdpa(encoder_module(), q, k, v, mask, scaling=8**-0.5, **arguments)[0])
    with pytest.raises(CannotCluster, match=reason):
        call_attention(encoder_module(plugged=True), mask, **arguments)


@pytest.mark.parametrize("plugged", [True, False])
def test_fewer_queries_or_heads_than_keys_are_sdpas(plugged: bool) -> None:
    forward = transformers.AttentionInterface()["plugged" if plugged else "kmeans"]
    module, sdpa = encoder_module(plugged), transformers.AttentionInterface()["sdpa"]
    q, k, v = torch.randn(3, 1, 4, 30, 8)
    module.num_key_value_groups = 1
    with everything_said() as said, attention_settings(C=3) as run:
        pooled = forward(module, q[:, :, ::2], k, v, None)[0]
        assert torch.equal(pooled, sdpa(module, q[:, :, ::2], k, v, None)[0])
        module.num_key_value_groups = 2
        grouped = forward(module, q, k[:, ::2], v[:, ::2], None)[0]
        assert torch.equal(grouped, sdpa(module, q, k[:, ::2], v[:, ::2], None)[0])
    assert run.cluster_counts == []
    assert len(said) <= 1  # once for a class of modules


@pytest.mark.parametrize("settings", ["act:L=32,r=1e-06", "kmeans:C=30", "tangent:C=30"])
@pytest.mark.parametrize("scaling", [None, 1.0, 0.05, 8**-0.5])
def test_the_scale_of_logits_is_the_modules(settings: str, scaling: float | None) -> None:
    with attention_settings("exact"):
        exact = call_attention(encoder_module(), scaling=scaling)
    with attention_settings(settings) as run:
        values = call_attention(encoder_module(), scaling=scaling)
    assert run.cluster_counts[0].tolist() == [[30] * 4]
    torch.testing.assert_close(values, exact, rtol=0, atol=1e-9)


def test_a_mask_of_padding_is_a_view_and_others_are_sdpas(make_family: Callable[..., Any]) -> None:
    config = make_family("DETR").model.config
    config._attn_implementation = "tangent"
    tokens = torch.zeros(2, 30, 32)
    keep = torch.ones(2, 30, dtype=torch.bool)
    make = transformers.masking_utils.create_bidirectional_mask
    assert make(config, tokens, keep) is None
    keep[1, 20:] = False
    mask = make(config, tokens, keep)
    assert mask.shape == (2, 1, 30, 30)
    assert mask.stride(2) == 0
    assert torch.equal(mask[:, 0, 17], keep)
    cross = make(config, torch.zeros(2, 6, 32), keep, encoder_hidden_states=tokens)
    assert cross.shape == (2, 1, 6, 30)
    near = make(config, tokens, keep, and_mask_function=lambda b, h, q, k: (q - k).abs() < 3)
    distance = (torch.arange(30)[:, None] - torch.arange(30)).abs()
    assert torch.equal(near[1, 0], (distance < 3) & keep[1])


@pytest.mark.parametrize("name", ["Table Transformer", "DAB-DETR"])
def test_a_model_that_would_not_ask_is_refused(make_family: Callable[..., Any], name: str, tmp_path: Path) -> None:
    family = make_family(name)
    family.model.save_pretrained(tmp_path)
    dtype = family.inputs["pixel_values"].dtype
    family.model = type(family.model).from_pretrained(tmp_path, attn_implementation="tangent", dtype=dtype)
    with pytest.raises(CannotPlug, match=r"attn_implementation='eager', then call models.plugged.plug_into"):
        family.run()


def test_a_causal_language_model_stays_exact() -> None:
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.arange(10)[None]
    with torch.no_grad():
        exact = model(ids).logits
        model.set_attn_implementation("kmeans")
        with attention_settings(C=2) as run:
            torch.testing.assert_close(model(ids).logits, exact)
    assert run.cluster_counts == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", ["tangent:C=1000", "kmeans:C=1000", "act:L=8,r=1"])
def test_half_precision(make_family: Callable[..., Any], dtype: torch.dtype, settings: str) -> None:
    family = make_family("DETR", dtype)
    exact = family.run()["attended"]
    plug_into(family.model, settings)
    with attention_settings() as run:
        attended = family.run()["attended"]
    assert len(run.cluster_counts) == 3
    assert attended.dtype == dtype
    assert attended.isfinite().all()
    if not settings.startswith("act"):
        # Each layer rounds to `eps` what it passes on; layers and sharp logits multiply that by less than 40.
        difference = (attended[0].float() - exact[0].float()).norm() / exact[0].float().norm()
        assert difference < 40 * torch.finfo(dtype).eps


@pytest.mark.parametrize("settings", ["tangent:C=3", "kmeans:C=3", "act:L=8,r=1"])
def test_autocast_does_not_reach_the_clusters(make_family: Callable[..., Any], settings: str) -> None:
    layer = make_family("DETR", torch.float32).model.model.encoder.layers[0].self_attn
    plug_into(layer, settings)
    tokens = torch.randn(2, 30, 32)
    with torch.no_grad(), attention_settings() as run:
        with torch.autocast("cpu", torch.bfloat16):
            attended = layer(tokens)[0]
        half = layer.to(torch.bfloat16)(tokens.to(torch.bfloat16))[0]
    assert attended.dtype == torch.bfloat16
    assert torch.equal(attended, half)
    assert torch.equal(*run.cluster_counts)


@pytest.mark.parametrize(("backend", "plugged"), [("eager", False), ("aot_eager", True)])
def test_compiled_models_compute_the_same(make_family: Callable[..., Any], backend: str, plugged: bool) -> None:
    family = make_family("ViT", num_hidden_layers=2)
    family.attention = family.attention[:2]
    if plugged:
        plug_into(family.model, "tangent:C=3")
    else:
        family.model.set_attn_implementation("tangent")
    with attention_settings(C=3) as run:
        expected = family.run()
    plain = family.model
    torch._dynamo.reset()
    compiled = torch.compile(plain, backend=backend)
    with torch.no_grad():
        for _ in range(2):
            with attention_settings(C=3) as compiled_run:
                logits = compiled(**family.inputs).logits
            torch.testing.assert_close(logits, expected["logits"])
            assert len(compiled_run.cluster_counts) == len(run.cluster_counts) == 2
        with attention_settings("exact"):
            assert not torch.equal(compiled(**family.inputs).logits, logits)


def test_a_compiled_detr_reads_its_padding(make_family: Callable[..., Any]) -> None:
    family = make_family("DETR", encoder_layers=1)
    plug_into(family.model, "tangent:C=3")
    tokens = torch.randn(2, 30, 32, dtype=torch.float64)
    keep = torch.ones(2, 30, dtype=torch.bool)
    keep[1, 20:] = False
    encoder = family.model.model.encoder
    torch._dynamo.reset()
    with torch.no_grad(), attention_settings() as run:
        expected = encoder(inputs_embeds=tokens, attention_mask=keep).last_hidden_state
        assert run.tokens == [30, 20]
        compiled = torch.compile(encoder, backend="eager")
        outputs = compiled(inputs_embeds=tokens, attention_mask=keep).last_hidden_state
    assert run.tokens == [30, 20]
    assert len(run.cluster_counts) == 2
    torch.testing.assert_close(outputs, expected)


def test_a_padded_image_is_encoded_as_it_is_alone(make_family: Callable[..., Any]) -> None:
    encoder = make_family("DETR").model.model.encoder
    encoder.set_attn_implementation("tangent")
    tokens, positions = torch.randn(2, 2, 30, 32, dtype=torch.float64)
    keep = torch.ones(2, 30, dtype=torch.bool)
    keep[1, 20:] = False
    with torch.no_grad(), attention_settings(C=3) as run:
        padded = encoder(inputs_embeds=tokens, attention_mask=keep, spatial_position_embeddings=positions)
        alone = encoder(inputs_embeds=tokens[1:, :20], spatial_position_embeddings=positions[1:, :20])
    torch.testing.assert_close(padded.last_hidden_state[1:, :20], alone.last_hidden_state)
    together, by_itself = torch.stack(run.cluster_counts[:3]), torch.stack(run.cluster_counts[3:])
    assert torch.equal(together[:, 1:], by_itself)
    assert run.tokens == [20]


def test_without_transformers_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['transformers'] = None; import models.plugged.transformers_attention"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "pip install 'transformers>=5.1'" in ended.stderr
