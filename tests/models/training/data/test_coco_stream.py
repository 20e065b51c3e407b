from collections import Counter

import pytest
import torch

from models.data.coco_files import CocoFiles
from models.training.data.augmentations import Augmentation
from models.training.data.batches import load
from models.training.data.coco_dataset import CocoDataset
from models.training.data.coco_stream import CocoStream

AUGMENTATION = Augmentation((32, 40), 80, (32, 36), (20, 30))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, write_coco):
    folder = tmp_path_factory.mktemp("coco")
    return CocoDataset.read(CocoFiles(write_coco(folder / "instances.json", folder, count=7), (folder,)))


def stream(dataset, seed=3, rank=0, ranks=1, batch_size=4, augmentation=AUGMENTATION):
    return CocoStream(dataset, batch_size, seed, lambda step: augmentation, rank, ranks)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_gets_the_batches_of_one_that_was_not_stopped(dataset, workers, same_batch):
    whole = list(load(stream(dataset), 0, 6, 0))
    resumed = list(load(stream(dataset), 2, 6, workers))
    assert len(resumed) == 4
    assert all(map(same_batch, whole[2:], resumed))
    assert not any(map(same_batch, whole[:-1], whole[1:]))


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_processes_together_take_the_whole_batch(dataset, ranks):
    for step in range(4):
        whole = stream(dataset).batch(step)
        shares = [stream(dataset, rank=rank, ranks=ranks).batch(step) for rank in range(ranks)]
        for rank, share in enumerate(shares):
            assert all(map(torch.equal, share.images, whole.images[rank::ranks]))
            assert [len(t) for t in share.targets] == [len(t) for t in whole.targets[rank::ranks]]
        assert sum(map(len, shares)) == len(whole) == 4


@pytest.mark.parametrize("batch_size", [3, 4, 20])
def test_every_epoch_shows_every_image_once_across_the_edges_of_batches(dataset, batch_size):
    plain = Augmentation((48,), 1000, (48,), (48, 48), flip=0.0, crop=0.0)
    batches = stream(dataset, batch_size=batch_size, augmentation=plain)
    widths = [image.shape[2] for step in range(21) for image in batches.batch(step).images]
    epochs = [tuple(widths[start : start + 7]) for start in range(0, len(widths) - 6, 7)]
    expected = Counter(60 + 4 * index for index in range(7))
    assert all(Counter(epoch) == expected for epoch in epochs)
    assert len(set(epochs)) > 1


def test_an_image_looks_different_every_epoch_and_for_every_seed(dataset):
    def sizes(seed):
        return [tuple(image.shape) for step in range(8) for image in stream(dataset, seed).batch(step).images]

    assert sizes(1) == sizes(1)
    assert sizes(1) != sizes(2)
    assert sizes(1)[:7] != sizes(1)[7:14]


def test_the_images_of_a_step_are_scaled_alike(dataset):
    """All are 48 pixels high: whatever is drawn for a step makes them one height again."""
    heights = [{image.shape[1] for image in stream(dataset).batch(step).images} for step in range(12)]
    assert all(len(of_step) == 1 for of_step in heights)
    assert len(set().union(*heights)) > 1


def test_a_broken_image_is_named_through_the_workers(tmp_path, write_coco):
    files = CocoFiles(write_coco(tmp_path / "instances.json", tmp_path, count=3), (tmp_path,))
    dataset = CocoDataset.read(files)
    (tmp_path / "001.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^\S+001\.png is not a readable image"):
        list(load(stream(dataset), 0, 1, 1))
