"""Measure the paper's claims and the project's own on models, as JSON, tables and plots; resumes where it stopped.

python -m models.reproduction                           # all claims, into docs/reproduction
python -m models.reproduction --quick --output /tmp/try # the same claims on a few pages
python -m models.reproduction --draw-only               # tables and plots again, from the JSON
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from models.detector import load_detector
from models.reproduction.claim import Plan
from models.reproduction.claim import Progress as Report
from models.reproduction.run import claims, draw, measure
from models.reproduction.tradeoff import Tradeoff


def main() -> None:
    """Measure what is not there yet, then draw everything."""
    arguments = parse_arguments()
    try:
        if not arguments.draw_only:
            measure_chosen(arguments)
        for file in draw(arguments.output):
            print(file)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{error}")


def measure_chosen(arguments: argparse.Namespace) -> None:
    """Measure the claims that were asked for, with a progress bar for each."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    options = {"device": arguments.device, "cache_dir": arguments.cache_dir}
    detector, *further = (load_detector(model, **options) for model in (arguments.model, *arguments.further))
    distilled = load_detector(arguments.distilled, **options) if arguments.distilled else None
    plan = Plan(arguments.pages, arguments.data, arguments.seeds, distilled)
    plan = plan.quickly() if arguments.quick else plan
    known = list(claims(detector, further))
    chosen = [(claim, model) for claim, model in known if claim.name.startswith(arguments.only)]
    chosen = [(claim, model) for claim, model in chosen if claim.name == arguments.only] or chosen
    if not chosen:
        names = ", ".join(claim.name for claim, _ in known)
        raise ValueError(f"no claim's name begins with {arguments.only}; there are: {names}")
    if distilled is None:
        left_out = Tradeoff(detector.name, "distilled").name
        if left_out in {claim.name for claim, _ in chosen}:
            print(f"not measured without --distilled: {left_out}")
        chosen = [(claim, model) for claim, model in chosen if claim.name != left_out]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(name: str) -> Report:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        measured = measure(chosen, plan, arguments.output, begin)
    print(f"measured: {', '.join(measured) or 'nothing'}; already there: {len(chosen) - len(measured)}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m models.reproduction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pages-small", help="name, file or folder of a model")
    parser.add_argument(
        "--further",
        nargs="*",
        default=["pages-large"],
        metavar="MODEL",
        help="models of which only trade-offs are measured",
    )
    parser.add_argument("--output", type=Path, default=Path("docs/reproduction"), help="folder for JSON and plots")
    parser.add_argument("--pages", type=int, default=100, help="images of a trade-off; fewer where tokens are many")
    parser.add_argument("--data", help="folder in COCO's format, instead of generated pages")
    parser.add_argument("--seeds", type=int, default=3, help="number of hash seeds and K-means starts")
    parser.add_argument("--distilled", help="file or folder of the same model after MTKD, for its trade-off")
    parser.add_argument("--quick", action="store_true", help="a few images and settings, to see that it runs")
    parser.add_argument("--only", default="", metavar="NAME", help="one claim, or all whose name begins with this")
    parser.add_argument("--draw-only", action="store_true", help="draw from the JSON that is there; run no model")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    cache = os.environ.get("ACT_DETR_CACHE_DIR")
    parser.add_argument("--cache-dir", type=Path, default=cache, help="folder of downloaded checkpoints")
    return parser.parse_args()


if __name__ == "__main__":
    main()
