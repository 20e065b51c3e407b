"""act-detr train: train or fine-tune a DETR on labelled images, or on generated pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.commands.console import fail, reason

RECIPE = "Recipe"
OUTPUT = "Output and checks"
MACHINE = "Machine"


def train(
    data: Annotated[str, typer.Option(help="Folder of a COCO-format data set, or `pages`: generated ones.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, model and logs; goes on with what it holds.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="To start from: anything that can be served, a run's checkpoint.pt, NAME:scratch for no weights.",
        ),
    ] = "pages-small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the run.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of steps.")] = None,
    stages: Annotated[
        str | None, typer.Option(help="Pages alone: STEPS:LOW-HIGH,... with shortest sides in pixels.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images a step, of all processes together.", rich_help_panel=RECIPE)
    ] = 8,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=0, help="Peak rate: 1e-4; 3e-4 from scratch; 1.5e-3 to refine.", rich_help_panel=RECIPE),
    ] = None,
    backbone_rate: Annotated[
        float | None, typer.Option(min=0, help="The backbone's: 1e-5; 3e-4 from scratch.", rich_help_panel=RECIPE)
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Decay of the weights, times the rate.", rich_help_panel=RECIPE)
    ] = 1e-4,
    optimizer: Annotated[
        Literal["adamw", "muon"],
        typer.Option(help="For the transformer's matrices; the rest has AdamW.", rich_help_panel=RECIPE),
    ] = "adamw",
    clip: Annotated[
        float | None, typer.Option(help="Greatest norm of a gradient: 0.1; else 1.", rich_help_panel=RECIPE)
    ] = None,
    schedule: Annotated[
        Literal["step", "cosine", "wsd"] | None,
        typer.Option(
            help="A tenth of the rate after two thirds (DETR's), a cosine (from scratch), or the peak until it falls "
            "along a line in the last 35 % (wsd).",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Steps of rising rate: 0; 400 from scratch.", rich_help_panel=RECIPE)
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Decay of the averaged weights: 0.999; 0.998 from scratch.", rich_help_panel=RECIPE
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="bf16: mixed; losses stay fp32.", rich_help_panel=RECIPE)
    ] = "fp32",
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Leave the backbone as it is.", rich_help_panel=RECIPE)
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror images; not for documents.", rich_help_panel=RECIPE)
    ] = True,
    hybrid: Annotated[
        bool | None,
        typer.Option(
            "--hybrid/--no-hybrid",
            help="One-to-many queries and a dense head, for training alone: from scratch only, unless said.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    refine_boxes: Annotated[
        bool,
        typer.Option(
            "--refine-boxes",
            help="Train the box refinement alone, which a model without one is given; everything else stays.",
            rich_help_panel=RECIPE,
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of new weights and of the data's order.", rich_help_panel=RECIPE)
    ] = 0,
    distil: Annotated[
        str | None,
        typer.Option(help="Attention that shall agree with exact attention: act:L=16,r=2.", rich_help_panel=RECIPE),
    ] = None,
    distil_distance: Annotated[
        Literal["squared", "overlap"],
        typer.Option(
            help="How far its boxes are from exact attention's: the paper's, or ours.", rich_help_panel=RECIPE
        ),
    ] = "squared",
    distil_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of that distance: 20 if squared, else 1.", rich_help_panel=RECIPE),
    ] = None,
    distil_layers: Annotated[
        Literal["all", "last"], typer.Option(help="Decoder layers whose boxes are distilled.", rich_help_panel=RECIPE)
    ] = "all",
    name: Annotated[str | None, typer.Option(help="What the model calls itself.", rich_help_panel=OUTPUT)] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.", rich_help_panel=OUTPUT)] = 100,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between logged losses.", rich_help_panel=OUTPUT)] = 10,
    eval_every: Annotated[
        int, typer.Option(min=0, help="Steps between validations; 0: none.", rich_help_panel=OUTPUT)
    ] = 500,
    eval_data: Annotated[
        str | None,
        typer.Option(
            help="COCO-format folder or `pages`, instead of the data's validation split.", rich_help_panel=OUTPUT
        ),
    ] = None,
    eval_images: Annotated[int, typer.Option(min=1, help="Most images to validate on.", rich_help_panel=OUTPUT)] = 200,
    device: Annotated[
        str, typer.Option(envvar="ACT_DETR_DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)
    ] = "auto",
    workers: Annotated[
        int,
        typer.Option(min=0, help="Processes that read or draw images, for each that trains.", rich_help_panel=MACHINE),
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each process that trains.", rich_help_panel=MACHINE)
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(envvar="ACT_DETR_CACHE_DIR", help="Folder of downloaded checkpoints.", rich_help_panel=MACHINE),
    ] = None,
) -> None:
    """Train a DETR from nothing, fine-tune one on your labels, distil ACT into it (MTKD), or refine its boxes.

    Stopped or killed at any moment, the same command goes on. For several GPUs or processes:
    torchrun --nproc-per-node 2 --no-python act-detr train ...
    """
    from models.config import AttentionConfig
    from models.training.distillation import WEIGHTS, Distillation
    from models.training.matcher import NotFinite
    from models.training.planning import Length, plan
    from models.training.processes import chosen_device
    from models.training.recipe import Hybrid
    from models.training.run import Surroundings
    from models.training.train import train as run
    from models.weights import WeightsError

    changes: dict[str, Any] = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "backbone_rate": backbone_rate,
        "weight_decay": weight_decay,
        "optimizer": optimizer,
        "clip_norm": clip,
        "schedule": schedule,
        "warmup_steps": warmup,
        "ema_decay": ema,
        "precision": precision,
        "freeze_backbone": freeze_backbone,
        "flip": flip,
        "seed": seed,
    }
    try:
        if distil is not None:
            weight = WEIGHTS[distil_distance] if distil_weight is None else distil_weight
            changes["distillation"] = Distillation(
                AttentionConfig.parse(distil), weight, distil_layers, distil_distance
            )
        recipe = plan(model, data, Length(steps, epochs, stages), changes, refine_boxes)
        if hybrid is not None:
            recipe = replace(recipe, hybrid=Hybrid() if hybrid else None)
        surroundings = Surroundings(
            output=output,
            name=name,
            device=chosen_device(device),
            workers=workers,
            threads=threads,
            save_every=save_every,
            eval_every=eval_every,
            log_every=log_every,
            held_out=eval_data,
            held_out_images=eval_images,
            cache_dir=cache_dir,
        )
        run(recipe, surroundings)
    except NotFinite as error:
        fail(f"{error}: try a lower rate, or clip harder; the last checkpoint is from before", 1)
    except (ValueError, OSError, KeyError) as error:
        fail(str(error.args[0]) if isinstance(error, KeyError) else reason(error), 2)
    except (WeightsError, RuntimeError) as error:
        fail(str(error), 1)
