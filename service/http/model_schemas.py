"""The JSON of `GET /model`: what is served, its defaults and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field

from models.attention_config import Metric
from models.config import DetrConfig
from models.masks.forms import MaskForm
from service.detection_options import AttentionChoice
from service.scheduling.ladder import useful_rungs

if TYPE_CHECKING:
    from models import AutoAttention
    from service.degradation import Degradation


class AttentionDefaults(BaseModel):
    """The attention of requests that do not set it."""

    mode: AttentionChoice
    L: int
    r: float
    metric: Metric = Field(description="That of ACT's `r`.")
    C: int
    ratio: float


class VouchedSettings(BaseModel):
    """Approximate attention that `auto` may choose, and how much lower AP is with it than with exact one, 0..1."""

    setting: str
    ap_lost: float


class TimesAtSize(BaseModel):
    """Milliseconds of the encoder's attention for an image of so many tokens, by settings, and what `auto` chooses."""

    tokens: int
    milliseconds: dict[str, float]
    chosen: str


class AutoAttentionCard(BaseModel):
    """What `attention=auto` chooses from, and the times that it chooses by: none where nothing is vouched for."""

    vouched: list[VouchedSettings]
    times: list[TimesAtSize]

    @classmethod
    def of(cls, config: DetrConfig, auto: AutoAttention) -> Self:
        """Convert the model's own account."""
        times = auto.times
        return cls(
            vouched=[VouchedSettings(setting=one.setting, ap_lost=one.ap_lost) for one in config.vouched],
            times=[]
            if times is None
            else [
                TimesAtSize(
                    tokens=tokens,
                    milliseconds={str(attention): row[i] for attention, row in times.milliseconds.items()},
                    chosen=str(auto.choose(tokens).attention),
                )
                for i, tokens in enumerate(times.tokens)
            ],
        )


class RungTimesCard(BaseModel):
    """Milliseconds of one image alone on the device at every rung, for so many pixels at rung 0, and which are used."""

    pixels: int
    milliseconds: list[float]
    useful: list[int]


class LadderCard(BaseModel):
    """How images are made cheaper under load. `rungs` are those below rung 0, `rung` is the present one, from 0."""

    target_ms: float
    rungs: list[str]
    rung: int
    times: list[RungTimesCard] = Field(description="Empty until the model is warmed up.")

    @classmethod
    def of(cls, degradation: Degradation) -> Self:
        """Convert the service's own account."""
        times, ladder = degradation.times, degradation.ladder
        return cls(
            target_ms=1e3 * ladder.target,
            rungs=[str(rung) for rung in degradation.rungs[1:]],
            rung=ladder.rung,
            times=[]
            if times is None
            else [
                RungTimesCard(
                    pixels=pixels,
                    milliseconds=[round(1e3 * seconds, 2) for seconds in row],
                    useful=useful_rungs(row),
                )
                for pixels, row in zip(times.pixels, times.seconds, strict=True)
            ],
        )


class InputSize(BaseModel):
    """Images are resized to this shortest side, unless the longest would exceed its limit. Pixels.

    A request may ask for a shortest side, its `size`, from `min_size` to `max_size`; the longest keeps its proportion.
    """

    shortest_side: int
    longest_side: int
    min_size: int
    max_size: int


class Limits(BaseModel):
    """Maximum values; requests above them are refused."""

    max_bytes: int
    max_pixels: int
    max_tiles: int
    max_batch_parts: int
    max_batch_bytes: int
    max_queue: int
    max_inflight: int


class ModelCard(BaseModel):
    """The model that is served, its classes, defaults and limits.

    `family`: the kind of model, as the model type of transformers; `engine`: what runs it, act-detr's own network or
    transformers. `box_refinement`: whether the model refines the boxes of its DETR with features of a higher
    resolution.
    """

    name: str
    commit: str | None = Field(description="The commit of a model from the Hugging Face hub; null for other models.")
    version: str
    labels: list[str]
    category_ids: dict[str, int] = Field(description="The id of each class in COCO's format, by name.")
    device: str
    precision: str
    parameters: int
    box_refinement: bool
    family: str
    engine: Literal["act-detr", "transformers"]
    explain: bool = Field(description="Whether `/compare` and `/explain` are turned on.")
    masks: list[MaskForm] = Field(description="Values that `masks` takes; none where the model gives boxes only.")
    attention_modes: list[AttentionChoice]
    attention_note: str | None = Field(
        description="Why the other attention modes do not apply, or what clustering does in this model; null where "
        "there is nothing to say."
    )
    default_attention: AttentionDefaults
    auto_attention: AutoAttentionCard | None = Field(description="Null until the model is warmed up.")
    ladder: LadderCard | None = Field(description="Null where no `ACT_DETR_TARGET_MS` is set.")
    default_threshold: float
    default_max_detections: int
    default_nms: float | None
    default_deadline_ms: float
    input_size: InputSize
    limits: Limits
    image_types: list[str]
