"""A batch of images of unequal sizes, in one call or one after another: `python -m models.benchmarks.unequal --help`.

All start from the same weights, drawn at random, and the same resized pages, exact attention. transformers pads all to
the largest and masks the padding. `images_per_second` is of a call from pixels to detections, `transformer_ms` of our
encoder and decoder alone. `scores` and `boxes` are the largest differences from one image after another: of a class's
probability, and of a box relative to the image; padding changes what the backbone sees of an image's edge.

Without a GPU there is no such call, and both of ours are the same.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.allocator import keep_freed_memory
from models.attention import multihead
from models.attention.exact import ExactAttention
from models.attention_config import AttentionConfig
from models.benchmarks.throughput import pages, size
from models.benchmarks.workload import Unavailable, Workload, make_workload
from models.detector import Detector
from models.images import ImageBatch, PackedTokens
from models.measurement.environment import run_environment
from models.measurement.results import write_results
from models.measurement.timing import Timing, clock_name, interleaved
from models.preprocess import PreparedImage, normalise

SIZES: Final = ((800, 1066), (800, 1333), (800, 800), (800, 1200))
ONE_CALL, ONE_BY_ONE, TRANSFORMERS = "one call", "one after another", "transformers, padded"
EXACT: Final = AttentionConfig.exact()

Outputs = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run the batch; `transformer_ms` is None for transformers. Differences as above."""

    engine: str
    images_per_second: float
    milliseconds_per_batch: Timing
    transformer_ms: Timing | None
    scores: float
    boxes: float


def draw_batch(count: int, sizes: Sequence[tuple[int, int]], device: torch.device) -> list[PreparedImage]:
    """Draw `count` pages whose sizes take turns, so that neighbours differ."""
    return [pages(1, *sizes[i % len(sizes)], device)[0] for i in range(count)]


@contextmanager
def one_after_another() -> Iterator[None]:
    """Attend as where there is no kernel for unequal images."""
    with patch.object(multihead, "takes_unequal", _never):
        yield


def _never(*_: object) -> bool:
    return False


def ours(detector: Detector, images: Sequence[PreparedImage]) -> dict[str, Callable[[], object]]:
    """From pixels to detections, either way."""

    def by_one() -> object:
        with one_after_another():
            return detector.predict(images, EXACT)

    return {ONE_CALL: partial(detector.predict, images, EXACT), ONE_BY_ONE: by_one}


def transformer_calls(detector: Detector, images: Sequence[PreparedImage]) -> dict[str, Callable[[], object]]:
    """Encoder and decoder of a batch whose features are there, either way."""
    pixels = [normalise(image.pixels.to(detector.device), detector.config) for image in images]
    tokens = detector.detr.tokens(ImageBatch.from_images([one.to(detector.dtype) for one in pixels]))
    transformer, queries = detector.detr.transformer, detector.detr.query_embed.weight

    def run() -> object:
        fresh = PackedTokens(tokens.values, tokens.positions, tokens.lengths)  # nothing is kept from the last call
        return transformer.decoder(queries, transformer.encoder(fresh, ExactAttention()).tokens)

    def by_one() -> object:
        with one_after_another():
            return run()

    return {ONE_CALL: run, ONE_BY_ONE: by_one}


class Padded:
    """transformers' model and post-processing for images padded to the largest, as its documentation has it.

    Raises Unavailable where transformers has no such model.
    """

    def __init__(self, work: Workload) -> None:
        if work.theirs is None:
            raise Unavailable(f"transformers has no model like {work.ours.config.name}")
        from transformers import DetrImageProcessor

        self.work = work
        self.model = copy.deepcopy(work.theirs).to(work.device, work.dtype)
        self.processor = DetrImageProcessor()

    def forward(self, images: Sequence[PreparedImage]) -> Any:
        """The model's own output."""
        height, width = (max(image.pixels.shape[axis] for image in images) for axis in (1, 2))
        padded = torch.zeros(len(images), 3, height, width, dtype=self.work.dtype, device=self.work.device)
        mask = torch.zeros(len(images), height, width, dtype=torch.int64, device=self.work.device)
        for i, image in enumerate(images):
            rows, columns = image.pixels.shape[1:]
            pixels = image.pixels.to(self.work.device, non_blocking=True)
            padded[i, :, :rows, :columns] = normalise(pixels, self.work.ours.config)
            mask[i, :rows, :columns] = 1
        return self.model(pixel_values=padded, pixel_mask=mask)

    def detect(self, images: Sequence[PreparedImage]) -> object:
        """Detections on the CPU."""
        sizes = [(image.original_height, image.original_width) for image in images]
        found = self.processor.post_process_object_detection(self.forward(images), threshold=0.0, target_sizes=sizes)
        return [{name: values.cpu() for name, values in one.items()} for one in found]


def differences(outputs: Outputs, reference: Outputs) -> tuple[float, float]:
    """The largest difference of a class's probability and of a box."""
    (logits, boxes), (other_logits, other_boxes) = outputs, reference
    scores = (logits.float().softmax(-1) - other_logits.float().softmax(-1)).abs().max()
    return float(scores), float((boxes.float() - other_boxes.float()).abs().max())


@torch.inference_mode()
def measure(work: Workload, images: Sequence[PreparedImage], repeats: int) -> list[Row]:
    """Compare what each computes for the batch, then time all in turn."""
    detector = Detector(copy.deepcopy(work.ours), str(work.device), work.precision)
    calls, outputs = ours(detector, images), {}
    output = detector.outputs(images, EXACT)
    outputs[ONE_CALL] = (output.logits, output.boxes_cxcywh)
    with one_after_another():
        output = detector.outputs(images, EXACT)
    outputs[ONE_BY_ONE] = (output.logits, output.boxes_cxcywh)
    if work.theirs is not None:
        padded = Padded(work)
        theirs = padded.forward(images)
        outputs[TRANSFORMERS] = (theirs.logits, theirs.pred_boxes)
        calls[TRANSFORMERS] = partial(padded.detect, images)
    timings = interleaved(calls, work.device, repeats)
    parts = interleaved(transformer_calls(detector, images), work.device, repeats)
    return [
        Row(
            name,
            len(images) / timings[name].median * 1e3,
            timings[name],
            parts.get(name),
            *differences(outputs[name], outputs[ONE_BY_ONE]),
        )
        for name in calls
    ]


def table(rows: Sequence[Row]) -> Table:
    """One row per way to run the batch."""
    made = Table("attention", "images/s", "ms a batch", "encoder and decoder ms", "scores differ by", "boxes differ by")
    for row in rows:
        part = "" if row.transformer_ms is None else f"{row.transformer_ms.median:.2f}"
        rates = (f"{row.images_per_second:.3g}", f"{row.milliseconds_per_batch.median:.1f}", part)
        made.add_row(row.engine, *rates, f"{row.scores:.1e}", f"{row.boxes:.1e}")
    return made


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="one call takes bf16")
    parser.add_argument("--sizes", type=size, nargs="+", default=SIZES, metavar="HxW", help="of the resized images")
    parser.add_argument("--batch", type=int, default=8, help="images a call; their sizes take turns")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=7, help="calls of each, at least 2")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write, print."""
    arguments = parse_arguments(argv)
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    work = make_workload("r50", device, arguments.precision)
    rows = measure(work, draw_batch(arguments.batch, arguments.sizes, device), arguments.repeats)
    results = {
        **run_environment(device),
        "clock": clock_name(device),
        "precision": arguments.precision,
        "sizes": arguments.sizes,
        "batch": arguments.batch,
        "repeats": arguments.repeats,
        "rows": [asdict(row) for row in rows],
    }
    write_results(arguments.output, results)
    Console(width=120).print(table(rows))


if __name__ == "__main__":
    main()
