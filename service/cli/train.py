"""act-detr train: train or fine-tune a DETR on labelled images, or on generated pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.console import fail, reason, require
from service.cli.options import CacheOption, DeviceOption


def train(
    data: Annotated[str, typer.Option(help="Folder of a COCO-format data set, or `pages`: generated ones.")],
    output: Annotated[Path, typer.Option(help="Folder for checkpoint, model and logs. A run in it is resumed.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Model to start from: any that can be served, a run's checkpoint.pt, NAME:scratch for no weights.",
        ),
    ] = "pages-small",
    recipe: Annotated[Path | None, typer.Option(help="TOML file of settings. Options given here win over it.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the run. By default, as the number of images asks for.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data, instead of steps.")] = None,
    minutes: Annotated[float | None, typer.Option(min=1, help="Time on this machine, instead of steps.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per step, of all processes together. Default: 8.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of new weights and of the data's order. Default: 0.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Annotation file to learn from, where the folder holds several or none.")
    ] = None,
    val_annotations: Annotated[Path | None, typer.Option(help="Annotation file to validate on.")] = None,
    device: DeviceOption = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that read or draw images, per training process.")] = 1,
    cache_dir: CacheOption = None,
) -> None:
    """Train a DETR from scratch, fine-tune one on your labels, distil ACT into it (MTKD), or refine its boxes.

    Settings that are not given follow from the data: the number of images, and how unlike they are to those that the
    model learnt on. The plan is printed before the first step, with the time that it will take. The settings that it
    comes to are written to OUTPUT/recipe.toml, to be edited and passed as --recipe to another run.

    If a run is stopped or killed, the same command resumes it. For several GPUs or processes:
    torchrun --nproc-per-node 2 --no-python act-detr train ...
    """
    require("train", "faster_coco_eval", "matplotlib", "scipy", "tensorboard")
    from models.device import choose_device
    from models.training.objective.matcher import NotFinite
    from models.training.plan.planning import Request
    from models.training.plan.recipe_file import RecipeSettings, read_recipe
    from models.training.programme import carry_out
    from models.training.run import RunOptions
    from models.weights import WeightsError

    try:
        settings = RecipeSettings() if recipe is None else read_recipe(recipe)
        settings = settings.updated(steps=steps, epochs=epochs, minutes=minutes, batch_size=batch_size, seed=seed)
        options = RunOptions(
            output,
            choose_device(device),
            workers,
            annotations,
            val_annotations,
            cache_dir,
            settings.validation,
            settings.run,
        )
        carry_out(Request(model, data, settings), options)
    except NotFinite as error:
        fail(f"{error}: try a lower learning_rate or clip_norm; the last checkpoint is from before", 1)
    except (ValueError, OSError, KeyError) as error:
        fail(str(error.args[0]) if isinstance(error, KeyError) else reason(error), 2)
    except (WeightsError, RuntimeError) as error:
        fail(str(error), 1)
