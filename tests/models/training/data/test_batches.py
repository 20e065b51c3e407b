import os
from dataclasses import dataclass

import pytest
import torch

from models.training.data.batches import TrainingBatch, in_one_piece, load, shard
from models.training.objective.matcher import Target


@dataclass
class Numbers:
    """Two images a batch, of sizes and fullness that change with the step."""

    fails_at: int = -1

    def batch(self, step: int) -> TrainingBatch:
        if step == self.fails_at:
            raise ValueError("broken.jpg is not a readable image")
        images = tuple(torch.full((3, 2 + step, 3 + index), 10 * step + index).byte() for index in range(2))
        targets = [Target(torch.arange(n), torch.full((n, 4), step / 8)) for n in (step % 3, 1)]
        return TrainingBatch(images, targets)


class Many:
    """Forty images a batch."""

    def batch(self, step: int) -> TrainingBatch:
        targets = [Target(torch.ones(1).long(), torch.ones(1, 4))] * 40
        return TrainingBatch((torch.zeros(3, 2, 2).byte(),) * 40, targets)


@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_content_do_not_depend_on_the_workers(workers, same_batch):
    loaded = list(load(Numbers(), 3, 10, workers))
    assert len(loaded) == 7
    assert all(same_batch(batch, Numbers().batch(step)) for step, batch in zip(range(3, 10), loaded, strict=True))


def test_nothing_is_left_to_load_at_the_last_step():
    assert list(load(Numbers(), 5, 5, 0)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_the_data_arrives_unchanged_and_in_order(workers, same_batch):
    batches = iter(load(Numbers(fails_at=2), 0, 5, workers))
    assert same_batch(next(batches), Numbers().batch(0))
    next(batches)
    with pytest.raises(ValueError, match=r"^broken\.jpg is not a readable image$"):
        next(batches)


def test_loading_leaves_the_global_random_state_as_it_was():
    before = torch.random.get_rng_state()
    list(load(Numbers(), 0, 2, 1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_batch_from_a_worker_lies_in_three_blocks():
    (batch,) = load(Numbers(), 2, 3, 1)
    for tensors in (batch.images, [t.labels for t in batch.targets], [t.boxes_cxcywh for t in batch.targets]):
        assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_open_files_do_not_grow_with_the_images_of_a_batch():
    before = len(os.listdir("/proc/self/fd"))
    batches = iter(load(Many(), 0, 4, 1))
    kept = [next(batches) for _ in range(4)]
    assert len(os.listdir("/proc/self/fd")) - before < 10 * len(kept)


def test_one_piece_holds_images_without_objects(same_batch):
    batch = TrainingBatch((torch.ones(3, 2, 2).byte(),), [Target(torch.zeros(0).long(), torch.zeros(0, 4))])
    assert same_batch(in_one_piece(batch), batch)


def test_shards_are_the_whole_and_never_empty():
    assert sorted(index for rank in range(3) for index in shard(7, rank, 3)) == list(range(7))
    assert list(shard(4, 0, 1)) == [0, 1, 2, 3]
    for rank, ranks in ((0, 5), (2, 2), (-1, 2)):
        with pytest.raises(ValueError, match="cannot be shared"):
            shard(4, rank, ranks)
