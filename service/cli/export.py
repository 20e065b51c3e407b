"""`act-detr export`: a model in the format of transformers, ONNX or OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from service.cli.console import fail, loading, reason
from service.cli.options import CacheOption

if TYPE_CHECKING:
    from models.export.export import Exported

_out = Console()


def export(
    model: Annotated[str, typer.Argument(help="Model name, file, folder or repository of the hub.", metavar="MODEL")],
    form: Annotated[
        Literal["transformers", "onnx", "openvino"], typer.Option("--format", help="What the model is written for.")
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder to write; new or empty.")],
    attention: Annotated[
        str | None,
        typer.Option(
            help="Attention of the graph: exact (the default), tangent, tangent:C=16, merge:ratio=0.5 or kmeans:C=64."
        ),
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=1, show_default="a letter page's", help="Rows of the graph's images.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, show_default="a letter page's", help="Columns of the graph's images.")
    ] = None,
    nms: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1,
            show_default="the model's own",
            help="The graph marks a detection whose IoU with a better one of its class is greater; 1 marks none.",
        ),
    ] = None,
    without_box_refinement: Annotated[
        bool,
        typer.Option("--without-box-refinement", "--no-box-refinement", help="Leave out the model's box refinement."),
    ] = False,
    cache_dir: CacheOption = None,
) -> None:
    """Write a model for transformers, or as a graph for ONNX Runtime or OpenVINO, after checking it against act-detr.

    docs/export.md has what each format takes and gives.
    """
    from models.export.errors import CannotExport, MissingPackage
    from models.export.export import Request, export_model, require_packages
    from models.weights import UnknownModel, WeightsError

    try:
        require_packages(form)
        request = Request(model, form, output, attention, height, width, nms, without_box_refinement, cache_dir)
        with loading(model) as (downloading, say):
            exported = export_model(request, downloading, say)
    except (CannotExport, UnknownModel, ValueError) as error:
        fail(reason(error), 2)
    except (MissingPackage, WeightsError, OSError, RuntimeError) as error:
        fail(reason(error), 1)
    _show(exported)


def _show(exported: Exported) -> None:
    for file in exported.files:
        _out.print(f"{file} ({file.stat().st_size / 1e6:.1f} MB)", soft_wrap=True, markup=False, highlight=False)
    found = exported.differences
    _out.print(
        f"On a generated page of {exported.height} x {exported.width} pixels scores differ from act-detr's by at most "
        f"{found.scores:.1e}, boxes by {found.boxes:.1e} of the image; {found.bound:g} is allowed.",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
