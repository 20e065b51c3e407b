"""Which attention is an encoder's, by its place."""

from __future__ import annotations

from torch import nn

from models.plugged.roles import attention_roles, outermost_caller


class SelfAttention(nn.Module):
    """The same class everywhere, as in DETR."""


class CrossAttention(nn.Module):
    pass


class Layer(nn.Module):
    def __init__(self, **attention: nn.Module) -> None:
        super().__init__()
        for name, module in attention.items():
            self.add_module(name, module)


class TextDecoderLayer(Layer):
    pass


class Model(nn.Module):
    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, module in parts.items():
            self.add_module(name, module)


class ImageEncoderDecoderModel(Model):
    pass


def roles_of(model: nn.Module, whole: bool = True) -> dict[str, str]:
    found = attention_roles(
        model, lambda module: isinstance(module, (SelfAttention, CrossAttention)), lambda module: whole
    )
    return dict(found)


def layers(**attention: type[nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(Layer(**{name: kind() for name, kind in attention.items()}) for _ in range(2))


def test_the_innermost_encoder_or_decoder_decides() -> None:
    model = ImageEncoderDecoderModel(
        encoder=Model(layers=layers(attention=SelfAttention)),
        pixel_decoder=Model(encoder=Model(layers=layers(self_attn=SelfAttention)), blocks=layers(attn=SelfAttention)),
        head=TextDecoderLayer(attn=SelfAttention()),
    )
    assert roles_of(model) == {
        "encoder.layers.0.attention": "encoder",
        "encoder.layers.1.attention": "encoder",
        "pixel_decoder.encoder.layers.0.self_attn": "encoder",
        "pixel_decoder.encoder.layers.1.self_attn": "encoder",
        "pixel_decoder.blocks.0.attn": "other",
        "pixel_decoder.blocks.1.attn": "other",
        "head.attn": "other",
    }


def test_attention_beside_a_cross_attention_is_a_decoders() -> None:
    model = Model(
        stack=layers(self_attn=SelfAttention, encoder_attn=SelfAttention),
        other_stack=layers(attention=SelfAttention, mixing=CrossAttention),
    )
    assert set(roles_of(model).values()) == {"other"}
    assert len(roles_of(model)) == 8


def test_a_model_of_one_stack_is_an_encoder_but_its_parts_alone_are_not_known() -> None:
    model = Model(layers=layers(attention=SelfAttention))
    assert set(roles_of(model).values()) == {"encoder"}
    assert roles_of(model, whole=False) == {}


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self) -> object:
        return self.inner()


class Asking(nn.Module):
    def forward(self) -> nn.Module:
        return outermost_caller(self)


def test_the_outermost_module_that_is_being_called_is_found() -> None:
    attention = Asking()
    model = Outer(Outer(attention))
    unrelated = Outer(nn.Identity())
    unrelated.forward = lambda: model()  # calls the model without containing it
    assert model() is model
    assert unrelated() is model
    assert model.inner() is model.inner
    assert attention() is attention
