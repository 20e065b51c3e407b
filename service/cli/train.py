"""act-detr train: train or fine-tune a DETR on labelled images, or on generated pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from service.cli.console import fail, reason, require

if TYPE_CHECKING:
    from models.config import AttentionConfig

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
    minutes: Annotated[
        float | None,
        typer.Option(min=1, help="Time on this machine instead of steps; what fits into it is measured first."),
    ] = None,
    stages: Annotated[
        str | None, typer.Option(help="Only for pages: STEPS:LOW-HIGH,... with shortest sides in pixels.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images a step, of all processes together.", rich_help_panel=RECIPE)
    ] = 8,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Peak rate. Default: 1e-4; 6e-4 for images unlike the model's; 3e-4 from scratch; 1.5e-3 to refine.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    backbone_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The backbone's. Default: 1e-5; 4e-4 for images unlike the model's; 3e-4 from scratch.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Decay of the weights, times the rate.", rich_help_panel=RECIPE)
    ] = 1e-4,
    optimizer: Annotated[
        Literal["adamw", "muon"] | None,
        typer.Option(
            help="For the transformer's matrices; AdamW for the rest. Default: adamw; muon for unlike images.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Maximum norm of a gradient. Default: 0.1 for fine-tuning, else 1.", rich_help_panel=RECIPE),
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
        int | None,
        typer.Option(
            min=0, help="Steps of rising rate. Default: 0 for fine-tuning, else 20 to 400.", rich_help_panel=RECIPE
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Decay of the averaged weights. Default: they remember a thirtieth of the run; 0.998 from scratch.",
            rich_help_panel=RECIPE,
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
    colour: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="Maximum change of brightness, contrast and saturation. Default: 0; 0.2 for unlike images.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    learn_norms: Annotated[
        bool | None,
        typer.Option(
            "--learn-norms/--freeze-norms",
            help="Whether the backbone's batch norms learn. Default: for images unlike the model's, and from scratch.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    hybrid: Annotated[
        bool | None,
        typer.Option(
            "--hybrid/--no-hybrid",
            help="One-to-many queries and a dense head, in training only. Default: for images unlike the model's, and "
            "from scratch.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    refine_boxes: Annotated[
        bool,
        typer.Option(
            "--refine-boxes",
            help="Train only the box refinement, which a model without one is given; everything else stays.",
            rich_help_panel=RECIPE,
        ),
    ] = False,
    refinement_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps that train the box refinement after the run; 0: none. Default: 15 % of the run's, for labelled "
            "images and a model that has one.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of new weights and of the data's order.", rich_help_panel=RECIPE)
    ] = 0,
    distil: Annotated[
        str | None,
        typer.Option(
            help="Attention that shall agree with exact attention: act:L=16,r=2. An L, r or C that is left out is the "
            "model's own.",
            rich_help_panel=RECIPE,
        ),
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
        int | None,
        typer.Option(
            min=0, help="Steps between validations; 0: none. Default: a tenth of the run.", rich_help_panel=OUTPUT
        ),
    ] = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            help="COCO-format folder or `pages`, instead of the data's validation split.", rich_help_panel=OUTPUT
        ),
    ] = None,
    eval_images: Annotated[
        int, typer.Option(min=1, help="Maximum of images to validate on.", rich_help_panel=OUTPUT)
    ] = 200,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Annotation file to learn from.", rich_help_panel=OUTPUT),
    ] = None,
    val_annotations: Annotated[
        Path | None, typer.Option(help="Annotation file to validate on.", rich_help_panel=OUTPUT)
    ] = None,
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

    Settings that are not given follow from the data: how many images there are, and how unlike those that the model
    learnt on. The plan is printed before the first step, with the time that it will take.

    Stopped or killed at any moment, the same command goes on. For several GPUs or processes:
    torchrun --nproc-per-node 2 --no-python act-detr train ...
    """
    require("train", "faster_coco_eval", "matplotlib", "scipy", "tensorboard")
    from models.training.objective.distillation import WEIGHTS, Distillation
    from models.training.objective.matcher import NotFinite
    from models.training.plan.planning import Length, Request
    from models.training.processes import chosen_device
    from models.training.programme import carry_out
    from models.training.run import RunOptions
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
        "colour": colour,
        "learn_norms": learn_norms,
        "hybrid": hybrid,
        "seed": seed,
    }
    try:
        if distil is not None:
            weight = WEIGHTS[distil_distance] if distil_weight is None else distil_weight
            attention = _attention(distil, model, output, cache_dir)
            changes["distillation"] = Distillation(attention, weight, distil_layers, distil_distance)
        length = Length(steps, epochs, stages, minutes)
        request = Request(model, data, length, changes, refine_boxes, refinement_steps)
        surroundings = RunOptions(
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
            annotations=annotations,
            val_annotations=val_annotations,
            cache_dir=cache_dir,
        )
        carry_out(request, surroundings)
    except NotFinite as error:
        fail(f"{error}: try a lower rate, or clip harder; the last checkpoint is from before", 1)
    except (ValueError, OSError, KeyError) as error:
        fail(str(error.args[0]) if isinstance(error, KeyError) else reason(error), 2)
    except (WeightsError, RuntimeError) as error:
        fail(str(error), 1)


def _attention(text: str, model: str, output: Path, cache_dir: Path | None) -> AttentionConfig:
    """What a text means for the model that a run starts from, or goes on with. Raises as `starting_point`."""
    from models.training.run import CHECKPOINT
    from models.training.starting_point import starting_point

    checkpoint = output / CHECKPOINT
    return starting_point(str(checkpoint) if checkpoint.exists() else model, cache_dir).config.attention(text)
