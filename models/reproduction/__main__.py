"""Measure the paper's claims and the project's own on a model, as JSON, tables and plots; resumes where it stopped.

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
from models.reproduction.claim import Plan, Resolution
from models.reproduction.claim import Progress as Report
from models.reproduction.run import claims, draw, measure


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
    sizes = tuple(map(Resolution.parse, arguments.sizes.split(","))) if arguments.sizes else ()
    options = {"device": arguments.device, "cache_dir": arguments.cache_dir}
    detector = load_detector(arguments.model, **options)
    distilled = load_detector(arguments.distilled, **options) if arguments.distilled else None
    own_size = detector.config.shortest_side
    plan = Plan(own_size, arguments.pages, arguments.data, sizes, arguments.seeds, distilled)
    plan = plan.quickly() if arguments.quick else plan
    chosen = [claim for claim in claims(plan, detector) if claim.name.startswith(arguments.only)]
    chosen = [claim for claim in chosen if claim.name == arguments.only] or chosen
    if not chosen:
        names = ", ".join(claim.name for claim in claims(plan, detector))
        raise ValueError(f"no claim's name begins with {arguments.only}; there are: {names}")
    left_out = [claim.name for claim in chosen if distilled is None and claim.name.endswith("-distilled")]
    if left_out:
        print(f"not measured without --distilled: {', '.join(left_out)}")
    chosen = [claim for claim in chosen if claim.name not in left_out]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:

        def begin(name: str) -> Report:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        measured = measure(chosen, detector, plan, arguments.output, begin)
    print(f"measured: {', '.join(measured) or 'nothing'}; already there: {len(chosen) - len(measured)}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m models.reproduction", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pages-small", help="name, file or folder of a model")
    parser.add_argument("--output", type=Path, default=Path("docs/reproduction"), help="folder for JSON and plots")
    parser.add_argument("--pages", type=int, default=100, help="images at the model's own size; fewer at larger ones")
    parser.add_argument("--data", help="folder in COCO's format, instead of generated pages")
    parser.add_argument(
        "--sizes", help="shortest sides of the trade-off in pixels, comma-separated; 352-dense: four times the tokens"
    )
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
