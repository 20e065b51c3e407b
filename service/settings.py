"""The settings, read from `ACT_DETR_*` environment variables and checked at start.

`python -m service.settings` prints the table in docs/configuration.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.attention_config import MAX_MERGE_RATIO
from service.cores import available_cores

PREFIX: Final = "ACT_DETR_"
DEFAULT_STREAMS: Final = 2
PILLOW_PIXEL_GUARD: Final = 89_478_485
"""Pillow's own limit on pixels: it warns of larger images, and refuses those of twice as many."""
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")

_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


class BadSettings(Exception):
    """Environment variables have invalid values; the message has a line for each."""


class Settings(BaseSettings):
    """The settings of one service process, read once at start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for all interfaces.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 uses a free one.")
    model: str = Field(
        "pages-small",
        min_length=1,
        description="`pages-small`, `pages-large`, the name of a published model (`detr-r50`, …), a `.safetensors`, "
        "`.pth` or `.ckpt` file, a folder saved by transformers, or a [repository of the Hugging Face "
        "hub](#the-hugging-face-hub) (`org/name` or `org/name@revision`).",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="`auto`, `cpu`, `cuda` or `cuda:N`; `auto` uses a GPU if there is one.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Number format of the model; `auto` is `bf16` on GPUs from Ampere on, and otherwise `fp32`, whose "
        "results are reproducible.",
    )
    attention: Literal["exact", "act", "tangent", "merge", "auto"] = Field(
        "auto",
        description="Default attention mode; `auto` uses the one that was measured to be the fastest for an image's "
        "size, of those that the model vouches for.",
    )
    l: int | None = Field(  # noqa: E741
        None,
        ge=1,
        le=64,
        json_schema_extra={"shown_default": "the model's"},
        description="ACT's hash rounds, the default of `L`.",
    )
    r: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        json_schema_extra={"shown_default": "the model's"},
        description="ACT's bucket width, the default of `r`, in the metric `query`.",
    )
    c: int | None = Field(
        None,
        ge=1,
        le=4096,
        json_schema_extra={"shown_default": "the model's"},
        description="Tangent attention's clusters per head, the default of `C` there.",
    )
    ratio: float | None = Field(
        None,
        ge=0,
        le=MAX_MERGE_RATIO,
        allow_inf_nan=False,
        json_schema_extra={"shown_default": "the model's"},
        description="Share of the tokens that `attention=merge` merges, the default of `ratio`.",
    )
    max_size: int | None = Field(
        None,
        ge=1,
        le=10_000,
        json_schema_extra={"shown_default": "the largest that the model was trained with"},
        description="Largest `size`, the shortest side that images are resized to; the model's own is always allowed.",
    )
    max_tiles: int = Field(
        32, ge=1, le=1024, description="Maximum tiles that one image is cut into; 1: images are never cut."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Default minimum score of a detection.")
    max_detections: int = Field(100, ge=1, description="Default maximum number of detections per image.")
    nms: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        json_schema_extra={"shown_default": "the model's"},
        description="Default of `nms`: a detection whose IoU with a better one of its class is greater is dropped; "
        "1 drops none.",
    )
    api_key: str = Field(
        "",
        repr=False,
        description="API keys, comma-separated; a caller has to send one of them. Empty: no key is needed.",
    )
    cors_origins: str = Field(
        "",
        description="Web origins (`https://example.org`) whose pages may call the service, comma-separated, or `*`. "
        "Empty: none.",
    )
    root_path: str = Field(
        "",
        description="Path under which a proxy offers the service (`/vision`), whether or not the proxy strips it. "
        "Empty: the root.",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        le=1024,
        json_schema_extra={"shown_default": "8 on a GPU, 1 on a CPU"},
        description="Maximum images that run together. A CPU gains nothing from more than one.",
    )
    max_batch_pixels: int = Field(
        8_600_000,
        ge=1,
        description="Maximum pixels that run together, after resizing: largest height x largest width x images.",
    )
    max_delay_ms: float | None = Field(
        None,
        ge=0,
        le=10_000,
        json_schema_extra={"shown_default": "5 on a GPU, 0 on a CPU"},
        description="Maximum time that the first image of a batch waits for others.",
    )
    max_queue: int = Field(128, ge=1, description="Maximum images that wait for the device; further ones get a 429.")
    max_inflight: int = Field(
        256,
        ge=1,
        description="Maximum requests under way, from the first byte of the body to the response; further "
        "ones get a 429. With the limits on bodies, this bounds memory.",
    )
    deadline_ms: float = Field(30_000, gt=0, le=3_600_000, description="Default maximum time until inference starts.")
    target_ms: float | None = Field(
        None,
        gt=0,
        le=3_600_000,
        allow_inf_nan=False,
        json_schema_extra={"shown_default": "none: images are never made cheaper"},
        description="Time in which an image should be answered. Where the predicted wait would make it late, it is "
        "[made cheaper](operations.md#cheaper-before-429), if its attention is `auto` and its request sets "
        "neither `size` nor `tiles`.",
    )
    ladder: str = Field(
        "",
        json_schema_extra={"shown_default": "the smallest size that the model was trained with"},
        description="Rungs of the ladder that images are made cheaper by, cheapest last, separated by `;`: "
        "`size=PIXELS`, an attention (`tangent:C=8`), or both (`size=304,tangent:C=8`).",
    )
    max_bytes: int = Field(20 * 2**20, ge=1, description="Maximum bytes of one encoded image.")
    max_batch_bytes: int = Field(64 * 2**20, ge=1, description="Maximum bytes of a body of `/detect/batch` or `/v2`.")
    max_batch_parts: int = Field(
        32, ge=1, le=1024, description="Maximum images in one request to `/detect/batch` or `/v2`."
    )
    max_pixels: int = Field(
        50_000_000,
        ge=1,
        le=PILLOW_PIXEL_GUARD,
        description="Maximum pixels of one image, checked before decoding.",
    )
    body_timeout_s: float = Field(30, gt=0, le=3600, description="Maximum time for a body to arrive.")
    header_timeout_s: float = Field(10, gt=0, le=3600, description="Maximum time for headers to arrive.")
    keepalive_timeout_s: float = Field(
        75,
        gt=0,
        le=86_400,
        description="Maximum time that a connection may be idle between two requests; should be longer than that of a "
        "proxy in front.",
    )
    answer_timeout_s: float = Field(60, gt=0, le=3600, description="Maximum time for a client to receive a response.")
    max_connections: int = Field(
        900,
        ge=1,
        description="Maximum open connections; further ones are closed unanswered. Needs as many file descriptors.",
    )
    explain: bool = Field(
        True,
        description="Whether `/compare` and `/explain` are offered, which cost more than one image a request. Turned "
        "off, they are a 404.",
    )
    shadow_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the images with approximate attention that run again with exact attention while the "
        "device is idle, to [measure what it changes](operations.md#fidelity-on-live-traffic).",
    )
    drain_seconds: float = Field(
        30, ge=0, le=3600, description="After SIGTERM: maximum time to answer accepted requests."
    )
    preprocess_threads: int = Field(
        min(4, available_cores()),
        ge=1,
        le=256,
        json_schema_extra={"shown_default": "cores, at most 4"},
        description="Threads that decode and resize images.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        json_schema_extra={"shown_default": "PyTorch's choice, at most the cores that the process may use"},
        description="CPU threads of the model.",
    )
    streams: int | None = Field(
        None,
        ge=1,
        le=1024,
        json_schema_extra={"shown_default": "2 on a CPU, if it has as many threads; 1 on a GPU"},
        description="Images that a CPU computes side by side, each with an equal part of `ACT_DETR_THREADS`: more of "
        "them answer more images a second, fewer answer a lone image sooner.",
    )
    cache_dir: Path | None = Field(
        None,
        json_schema_extra={"shown_default": "the user's cache folder"},
        description="Folder for published models that were downloaded, and for the times that `auto` chooses by.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log messages."
    )
    log_format: Literal["json", "text"] = Field("json", description="`json`: one object per line; `text`: for people.")

    @field_validator("api_key")
    @classmethod
    def _keys_can_be_sent(cls, value: str) -> str:
        if any(not (key.isascii() and key.isprintable()) or " " in key for key in _split(value)):
            raise ValueError("keys must be printable ASCII without spaces")
        if value and not _split(value):
            raise ValueError("it contains no key")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: str) -> str:
        if wrong := [origin for origin in _split(value) if origin != "*" and not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"{wrong[0]} is not an origin: scheme://host[:port], in lower case, without a path")
        return value

    @field_validator("root_path")
    @classmethod
    def _root_is_a_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise ValueError("a path begins with /, contains letters, digits, - . _ ~ and has no empty, . or .. part")
        return path

    @field_validator("log_level", "log_format", "attention", "device", "precision", mode="before")
    @classmethod
    def _lower_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_image_fits(self) -> Self:
        if self.max_batch_bytes < self.max_bytes:
            raise ValueError("max_batch_bytes is smaller than max_bytes: one image would not fit")
        return self

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys that are accepted; empty if no key is needed."""
        return _split(self.api_key)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The web origins whose pages may call; empty by default."""
        return _split(self.cors_origins)

    def batch_images(self, device: str) -> int:
        """Return the maximum number of images in a batch on the given device (`cpu`, `cuda:0`, …)."""
        return self.max_batch or (1 if device.startswith("cpu") else 8)

    def streams_on(self, device: str, threads: int) -> int:
        """Return how many images run side by side on the given device, with so many CPU threads in all."""
        if not device.startswith("cpu"):
            return 1
        return min(threads, self.streams or DEFAULT_STREAMS)

    def delay_seconds(self, device: str) -> float:
        """Return the batching window in seconds on the given device (`cpu`, `cuda:0`, …)."""
        default = 0.0 if device.startswith("cpu") else 5.0
        return (default if self.max_delay_ms is None else self.max_delay_ms) / 1e3


def _split(values: str) -> tuple[str, ...]:
    return tuple(value for value in (part.strip() for part in values.split(",")) if value)


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment; `overrides` (by field name; None: not given) win.

    Raises BadSettings with a line for each invalid value.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise BadSettings("\n".join(_explain(row) for row in error.errors())) from None


def _explain(row: Mapping[str, Any]) -> str:
    name = "_".join(str(part) for part in row["loc"]).upper()
    value = row.get("input")
    if not name:
        return str(row["msg"]).removeprefix("Value error, ")
    shown = "its value" if name == "API_KEY" else repr(value)
    text = f"{PREFIX}{name}: {str(row['msg']).removeprefix('Value error, ')}, not {shown}"
    if name == "PORT" and isinstance(value, str) and value.startswith("tcp://"):
        text += " (Kubernetes sets this for a Service named act-detr: set enableServiceLinks: false)"
    return text


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return names in the environment that look like settings but are not: most likely, they are misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(PREFIX) and name.upper() not in known)


def markdown_table() -> str:
    """Return a Markdown table of all settings: name, default, range, meaning."""
    rows = ["| variable | default | range | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        cells = (f"`{PREFIX}{name.upper()}`", _default(field), _range(field), field.description or "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "shown_default" in extra:
        return str(extra["shown_default"])
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return "" if default in (None, "") else f"`{default}`"


def _range(field: FieldInfo) -> str:
    if field.annotation is bool:
        return "`true`, `false`"
    options = getattr(field.annotation, "__args__", ())
    if options and all(isinstance(option, str) for option in options):
        return ", ".join(f"`{option}`" for option in options)
    low = next((f"≥ {item.ge}" for item in field.metadata if isinstance(item, Ge)), "")
    low = next((f"> {item.gt}" for item in field.metadata if isinstance(item, Gt)), low)
    high = next((f"≤ {item.le}" for item in field.metadata if isinstance(item, Le)), "")
    return ", ".join(part for part in (low, high) if part)


if __name__ == "__main__":
    print(markdown_table(), end="")
