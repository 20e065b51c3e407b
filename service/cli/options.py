"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

MODEL_HELP: Final = "Model name, file, folder, or ORG/NAME of the Hugging Face hub."
ModelOption = Annotated[str, typer.Option("--model", "-m", envvar="ACT_DETR_MODEL", help=MODEL_HELP)]
DeviceOption = Annotated[str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[str, typer.Option(envvar="ACT_DETR_PRECISION", help="auto, fp32 or bf16.")]
CacheOption = Annotated[
    Path | None, typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder for downloaded checkpoints.")
]
