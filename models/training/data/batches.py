"""Batches of a training step, the seeded streams that they come from, and loading them ahead of time."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.training.objective.matcher import Target


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Images uint8 RGB [3, h, w], whose sizes may differ, not yet normalised, and what is in each of them."""

    images: tuple[Tensor, ...]
    targets: list[Target]

    def __len__(self) -> int:
        return len(self.images)


class BatchStream(Protocol):
    """An endless seeded stream of batches, of which this process takes its share."""

    def batch(self, step: int) -> TrainingBatch:
        """This process's share of a step's batch.

        It depends only on the step and the stream's seed, so a resumed run gets the batches that it would have had.
        """


class StepBatches(Dataset[TrainingBatch | Exception]):
    """Batches of steps first_step..last_step - 1 of a stream, by index in that range.

    A mistake in the data is handed over like a batch: raised in a worker it would lose its words in a traceback.
    """

    def __init__(self, stream: BatchStream, first_step: int, last_step: int) -> None:
        self.stream = stream
        self.steps = range(first_step, last_step)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> TrainingBatch | Exception:
        try:
            return in_one_piece(self.stream.batch(self.steps[index]))
        except (OSError, ValueError) as error:
            return error


def load(stream: BatchStream, first_step: int, last_step: int, workers: int) -> Iterator[TrainingBatch]:
    """Yield the batches of steps first_step..last_step - 1, made ahead of time by `workers` processes (0: by this one).

    Order and content are the same for any number of workers. Torch's global random state stays as it was. Raises
    OSError and ValueError as `stream.batch` raised them.
    """
    batches = StepBatches(stream, first_step, last_step)
    loader = DataLoader(
        batches, batch_size=None, num_workers=workers, generator=torch.Generator(), worker_init_fn=outlive_signals
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


def outlive_signals(_worker: int) -> None:
    """Let the process that trains decide when to stop: Ctrl-C and `timeout` signal all processes at once."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def in_one_piece(batch: TrainingBatch) -> TrainingBatch:
    """The same batch in three blocks of memory.

    A worker hands over one open file for every block; one for every tensor would soon be too many.
    """
    sizes = [image.shape for image in batch.images]
    pixels = torch.cat([image.flatten() for image in batch.images])
    counts = [len(target) for target in batch.targets]
    labels = torch.split(torch.cat([target.labels for target in batch.targets]), counts)
    boxes = torch.split(torch.cat([target.boxes_cxcywh for target in batch.targets]), counts)
    flat = torch.split(pixels, [size.numel() for size in sizes])
    images = tuple(piece.view(size) for piece, size in zip(flat, sizes, strict=True))
    return TrainingBatch(images, [Target(*pair) for pair in zip(labels, boxes, strict=True)])


def shard(batch_size: int, rank: int, ranks: int) -> range:
    """The indices in every batch that process `rank` of `ranks` takes. Raises ValueError where one would get none."""
    if not 0 <= rank < ranks <= batch_size:
        raise ValueError(f"a batch of {batch_size} cannot be shared: process {rank} of {ranks} needs an image")
    return range(rank, batch_size, ranks)
