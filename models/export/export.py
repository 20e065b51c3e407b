"""Exporting: load a model, write it in a format, check what was written against ours, and only then let it appear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from models.attention_config import AttentionConfig
from models.boxes import cxcywh_to_xyxy
from models.config import DetrConfig
from models.detector import Detector
from models.detr.detr import Detr
from models.evaluation.weights_digest import weights_digest
from models.export.card import graph_card, transformers_card
from models.export.check import Differences, Reference, bound, check_suppression, differences, reference
from models.export.engines import Arrays, run_onnx, run_openvino, write_onnx, write_openvino
from models.export.errors import CannotExport, ExportDiffers, MissingPackage
from models.export.folder import whole_folder
from models.export.graph import DetectionGraph, GraphSettings, exported_program
from models.export.transformers_folder import check_has_form, load_transformers_model, save_transformers_folder
from models.preprocess import resized_for
from models.weights import Progress, load_strict, resolve
from models.weights.resolve import LoadedWeights
from models.weights.transformers_folder import load_transformers_folder

Format = Literal["transformers", "onnx", "openvino"]
PACKAGES: Final[dict[Format, tuple[str, ...]]] = {
    "transformers": ("transformers",),
    "onnx": ("onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
}
"""Packages that a format needs and a plain installation lacks."""
LETTER: Final = (1056, 816)
"""Height and width of a letter page, in proportion."""
CARD: Final = "README.md"
REFINEMENT: Final = "box_refinement."


@dataclass(frozen=True, slots=True)
class Request:
    """What to export: a model's name, file, folder or repository, in which format, and into which folder.

    The others are for graphs: `attention` in text form, exact by default; `height` and `width` of the resized image,
    by default what a letter page is resized to; `nms`, 1 for none and by default the model's own.
    """

    model: str
    format: Format
    folder: Path
    attention: str | None = None
    height: int | None = None
    width: int | None = None
    nms: float | None = None
    without_box_refinement: bool = False
    cache_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far it differs from ours on a generated page of `height` x `width` pixels."""

    files: tuple[Path, ...]
    differences: Differences
    height: int
    width: int


def export_model(request: Request, progress: Progress | None = None, tell: Callable[[str], None] = print) -> Exported:
    """Write the folder of a request. `tell` is called with what is being done.

    Raises CannotExport for what the format has no part for, MissingPackage, ExportDiffers where the result computes
    something else than ours, or another WeightsError; then nothing is written.
    """
    require_packages(request.format)
    loaded = resolve(request.model, cache_dir=request.cache_dir, progress=progress)
    if request.without_box_refinement:
        loaded = _without_box_refinement(loaded)
    with whole_folder(request.folder) as folder:
        write = _write_transformers if request.format == "transformers" else _write_graph
        result = write(request, loaded, folder, tell)
        names = sorted(file.name for file in folder.iterdir())
    return replace(result, files=tuple(request.folder / name for name in names))


def require_packages(form: Format) -> None:
    """Raise MissingPackage, with the line that installs them, where a format's packages are missing."""
    missing = [package for package in PACKAGES[form] if not _installed(package)]
    if missing:
        raise MissingPackage(
            f"export --format {form} needs {', '.join(missing)}: run pip install '.[export]' in a checkout of the "
            "repository"
        )


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _without_box_refinement(loaded: LoadedWeights) -> LoadedWeights:
    if loaded.config.box_refinement is None:
        raise CannotExport(f"{loaded.config.name} has no box refinement to leave out")
    state = {key: value for key, value in loaded.state_dict.items() if not key.startswith(REFINEMENT)}
    return replace(loaded, config=replace(loaded.config, box_refinement=None), state_dict=state)


def _detr(config: DetrConfig, state: Mapping[str, Tensor]) -> Detr:
    detr = Detr(config)
    load_strict(detr, state)
    return detr.eval()


def _write_transformers(request: Request, loaded: LoadedWeights, folder: Path, tell: Callable[[str], None]) -> Exported:
    if (request.attention, request.height, request.width, request.nms) != (None,) * 4:
        raise CannotExport(
            "--attention, --height, --width and --nms are for onnx and openvino: a model of transformers takes images "
            "of any size, and its attention is chosen when it is loaded"
        )
    config, state = loaded.config, loaded.state_dict
    check_has_form(config)
    tell("writing the folder")
    save_transformers_folder(folder, config, state)
    (folder / CARD).write_text(transformers_card(config), encoding="utf-8")
    tell("checking it against act-detr")
    _check_reads_back(folder, config, state)
    height, width = resized_for(config, *LETTER)
    uncut = replace(config, resizing=None)  # a canvas is the image processor's work
    ours = reference(Detector(_detr(uncut, state)), AttentionConfig.exact(), height, width)
    found = differences(ours, _run_transformers(folder, config, ours), bound(AttentionConfig.exact()))
    found.check("the folder")
    return Exported((), found, height, width)


def _check_reads_back(folder: Path, config: DetrConfig, state: Mapping[str, Tensor]) -> None:
    """Raise ExportDiffers where our own loader makes anything else of a folder than what was written."""
    read, weights = load_transformers_folder(folder)
    names = (field.name for field in fields(DetrConfig) if field.name != "name")
    wrong = [name for name in names if getattr(read, name) != getattr(config, name)]
    if wrong or weights.keys() != state.keys() or not all(torch.equal(weights[key], state[key]) for key in state):
        raise ExportDiffers(
            f"the folder does not read back as {config.name}: {', '.join(wrong) or 'weights'} differ; nothing was "
            "written"
        )


@torch.inference_mode()
def _run_transformers(folder: Path, config: DetrConfig, ours: Reference) -> Arrays:
    pixels = torch.from_numpy(ours.image).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(colour).view(3, 1, 1) for colour in (config.mean, config.std))
    output = load_transformers_model(folder)(pixel_values=(pixels - mean) / std)
    scores, labels = output.logits.softmax(-1)[..., :-1].max(-1)
    boxes = cxcywh_to_xyxy(output.pred_boxes).clamp(0, 1)
    return {"boxes": boxes.numpy(), "scores": scores.numpy(), "labels": labels.numpy()}


def _write_graph(request: Request, loaded: LoadedWeights, folder: Path, tell: Callable[[str], None]) -> Exported:
    settings = _settings(request, loaded.config)
    detector = Detector(_detr(loaded.config, loaded.state_dict))
    tell("tracing the network")
    program = exported_program(DetectionGraph(detector.detr, settings))
    metadata = _metadata(detector, settings)
    tell(f"writing it for {request.format}")
    (write_onnx if request.format == "onnx" else write_openvino)(program, folder, metadata)
    (folder / CARD).write_text(graph_card(request.format, loaded.config, metadata), encoding="utf-8")
    tell("checking it against act-detr")
    ours = reference(detector, settings.attention, settings.height, settings.width)
    theirs = (run_onnx if request.format == "onnx" else run_openvino)(folder, ours.image[None])
    found = differences(ours, theirs, bound(settings.attention))
    found.check("the graph")
    check_suppression(ours, theirs, settings.nms, "the graph")
    return Exported((), found, settings.height, settings.width)


def _settings(request: Request, config: DetrConfig) -> GraphSettings:
    if (request.height is None) != (request.width is None):
        raise CannotExport("--height and --width are given together, or neither")
    height, width = resized_for(config, *LETTER)
    try:
        attention = config.attention(request.attention or "exact")
    except ValueError as error:
        raise CannotExport(str(error)) from error
    nms = config.nms if request.nms is None else request.nms
    return GraphSettings(request.height or height, request.width or width, attention, None if nms == 1 else nms)


def _metadata(detector: Detector, settings: GraphSettings) -> dict[str, Any]:
    """What a graph's file says of itself."""
    config = detector.config
    return {
        "model": config.name,
        "labels": list(config.labels),
        "height": settings.height,
        "width": settings.width,
        "attention": str(settings.attention),
        "nms": settings.nms,
        "box_refinement": config.box_refinement is not None,
        "shortest_side": config.shortest_side,
        "longest_side": config.longest_side,
        "weights_sha256": weights_digest(detector),
        "act_detr": version("act-detr"),
    }
