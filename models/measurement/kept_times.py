"""Attention times kept in a file from one start to the next, for the same device, threads, model shape and code."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from models.attention.auto import AttentionTimes, AutoAttention
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.measurement.attention_times import measure_attention_times
from models.measurement.environment import device_name
from models.weights import default_cache_dir
from models.whole_file import whole_file

FORMAT: Final = 2
CODE: Final = ("attention", "clustering", "detr", "kernels", "measurement")
"""Packages of `models` whose sources decide what is measured."""

logger = logging.getLogger(__name__)

Key = dict[str, Any]


def auto_attention(
    config: DetrConfig, device: torch.device, dtype: torch.dtype, cache_dir: Path | None = None
) -> AutoAttention:
    """Return what `auto` chooses by, from the file of an earlier measurement or measured on the calling thread.

    `cache_dir` is the user's cache folder by default. A file that is broken, of another version or of something else is
    measured again; a folder that cannot be written to is no error. Times whose repeats disagree are not kept: the next
    start measures again. Nothing is measured where nothing is vouched for.
    """
    if not config.vouched:
        return AutoAttention()
    vouched = tuple(one.attention for one in config.vouched)
    key = measurement_key(config, device, dtype)
    file = _file(key, cache_dir)
    times = read_times(file, key) if file else None
    if times is None:
        times, agree = measure_attention_times(config, device, dtype)
        if file and agree:
            keep_times(file, key, times)
    return AutoAttention(vouched, times)


def measurement_key(config: DetrConfig, device: torch.device, dtype: torch.dtype) -> Key:
    """Return all that the times depend on, as JSON has it; weights and images are not among it."""
    return {
        "format": FORMAT,
        "device": device_name(device),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "dtype": str(dtype),
        "torch": torch.__version__,
        "code": _code_digest(),
        "layers": config.encoder_layers,
        "heads": config.heads,
        "head_dim": config.head_dim,
        "feedforward_dim": config.feedforward_dim,
        "sides": [
            *(config.shortest_side, config.longest_side, *config.sides),
            *(config.backbone.stride, str(config.resizing)),
        ],
        "attention": {one.setting: one.cluster_ratio for one in config.vouched},
    }


def read_times(file: Path, key: Key) -> AttentionTimes | None:
    """Return the times in a file if `keep_times` wrote them for this key; None for any other or no file."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["key"] != key:
            return None
        rows = kept["milliseconds"].items()
        times = AttentionTimes(
            tuple(int(tokens) for tokens in kept["tokens"]),
            {AttentionConfig.parse(setting): tuple(float(time) for time in row) for setting, row in rows},
        )
        vouched = {AttentionConfig.parse(setting) for setting in key["attention"]}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        logger.warning("%s is not what was written: attention is measured again (%s)", file, error)
        return None
    return times if vouched <= times.milliseconds.keys() else None


def keep_times(file: Path, key: Key, times: AttentionTimes) -> None:
    """Write times to a file, whole, into a folder that is made if it is missing; if that fails, only log it."""
    rows = {str(attention): list(row) for attention, row in times.milliseconds.items()}
    text = json.dumps({"key": key, "tokens": list(times.tokens), "milliseconds": rows}, indent=1)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as part:
            part.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        logger.info("attention times are not kept: %s", error)


def _file(key: Mapping[str, Any], cache_dir: Path | None) -> Path | None:
    """Return the file of a key; None for a user without a home."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    try:
        return (cache_dir or default_cache_dir()) / f"attention-times-{digest[:16]}.json"
    except RuntimeError:
        return None


@cache
def _code_digest() -> str:
    """Return sixteen hex digits of the sha256 of the sources that are measured."""
    folder, sha = Path(__file__).parents[1], hashlib.sha256()
    for source in sorted(path for package in CODE for path in (folder / package).glob("*.py")):
        sha.update(source.read_bytes())
    return sha.hexdigest()[:16]
