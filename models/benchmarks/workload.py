"""What the engines of a throughput benchmark share: the weights, what an engine is, and the outputs to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.attention.exact import ExactAttention
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detr.detr import Detr
from models.images import ImageBatch
from models.named_models import named_config
from models.precision import Precision
from models.preprocess import PreparedImage, normalise
from models.weights import load_strict, resolve
from models.weights.key_map import published_names

RANDOM_MODELS: Final = {"r50": "detr-r50", "dc5": "detr-r50-dc5"}
"""Published configurations, by the short name; their weights are drawn at random, the same in every run."""

MODELS: Final = (*RANDOM_MODELS, "pages-small")


class Unavailable(RuntimeError):
    """This engine cannot run the model here; the message says why."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What every engine gets: the model in float32 on the CPU, and how to run it.

    `theirs` is transformers' model, None where it has none of the kind. Engines copy what they change.
    """

    ours: Detr
    theirs: nn.Module | None
    device: torch.device
    precision: Precision
    attentions: tuple[AttentionConfig, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the network."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32


@dataclass(frozen=True, slots=True)
class Engine:
    """`detect` makes detections of images: what is timed. `outputs` makes logits and boxes_cxcywh of them, on the CPU.

    Both start from resized pixels and include normalisation.
    """

    name: str
    detect: Callable[[Sequence[PreparedImage]], object]
    outputs: Callable[[Sequence[PreparedImage]], tuple[Tensor, Tensor]]


def make_workload(
    model: str, device: torch.device, precision: Precision, attentions: Sequence[str] = ("exact",)
) -> Workload:
    """Make the weights of a model of `MODELS`. Raises ValueError for an unknown attention or model."""
    if model in RANDOM_MODELS:
        config = named_config(RANDOM_MODELS[model])
        theirs = random_transformers_model(config)
        ours = Detr(config).eval()
        load_strict(ours, published_names(dict(theirs.state_dict())))
    else:
        loaded = resolve(model)
        theirs, ours = None, Detr(loaded.config).eval()
        load_strict(ours, loaded.state_dict)
    return Workload(ours, theirs, device, precision, tuple(ours.config.attention(text) for text in attentions))


def random_transformers_model(config: DetrConfig) -> nn.Module:
    """A DETR of transformers with the shape of a published one. Raises Unavailable without transformers or timm.

    Linear layers keep the variance of what they get, so that errors show in the output. Each residual branch of the
    backbone is scaled by a quarter: with untrained batch norms, activations would double from block to block.
    """
    try:
        import timm  # noqa: F401
        from transformers import DetrConfig as TheirConfig
        from transformers import DetrForObjectDetection
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed") from error
    torch.manual_seed(0)
    fields: dict[str, Any] = {
        "backbone": "resnet50",
        "use_timm_backbone": True,
        "use_pretrained_backbone": False,
        "dilation": config.resnet.dilation,
        "num_labels": len(config.labels),
    }
    model: nn.Module = DetrForObjectDetection(TheirConfig(**fields))
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif name.endswith(".bn3"):
            module.get_buffer("weight").fill_(0.25)
    return model.eval().requires_grad_(False)


def reference_outputs(work: Workload, images: Sequence[PreparedImage]) -> tuple[Tensor, Tensor]:
    """Logits and boxes_cxcywh in float32 by exact attention, on the CPU, without any fusion."""
    pixels = [normalise(image.pixels, work.ours.config) for image in images]
    with torch.inference_mode():
        each = [work.ours(ImageBatch.from_images([one]), ExactAttention()) for one in pixels]
    return float_cpu([one.logits for one in each]), float_cpu([one.boxes_cxcywh for one in each])


def float_cpu(parts: Sequence[Tensor]) -> Tensor:
    """Join outputs of single images, in float32 on the CPU."""
    return torch.cat(list(parts)).float().cpu()
