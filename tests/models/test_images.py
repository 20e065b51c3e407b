import pytest
import torch

from models.images import ImageBatch, PackedTokens


def test_images_stack_by_size_and_keep_their_order():
    images = [torch.full((3, *size), float(i)) for i, size in enumerate([(2, 3), (4, 5), (2, 3), (1, 1)])]
    batch = ImageBatch.from_images(images)
    assert [tuple(stack.shape) for stack in batch.stacks] == [(2, 3, 2, 3), (1, 3, 4, 5), (1, 3, 1, 1)]
    through_stacks = [image for stack in batch.stacks for image in stack]
    assert all(torch.equal(through_stacks[batch.order[i]], image) for i, image in enumerate(images))
    assert len(batch) == 4


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        ImageBatch.from_images([])


def test_neighbours_of_equal_length_make_one_run():
    packed = torch.arange(26.0).view(13, 2)
    tokens = PackedTokens(packed, packed, (3, 3, 2, 3, 2))
    runs = [(run.start, run.images, run.tokens) for run in tokens.runs()]
    assert runs == [(0, 2, 3), (6, 1, 2), (8, 1, 3), (11, 1, 2)]
    first, *_, last = tokens.runs()
    assert torch.equal(first.dense(packed), packed[:6].view(2, 3, 2))
    assert torch.equal(last.dense(packed), packed[None, 11:])


def test_offsets_are_made_once_and_shared_by_tokens_with_other_values():
    packed = torch.arange(16.0).view(8, 2)
    tokens = PackedTokens(packed, packed, (3, 1, 4))
    offsets = tokens.offsets(tokens.lengths)
    assert (offsets.dtype, offsets.tolist()) == (torch.int32, [0, 3, 4, 8])
    layer = tokens.with_values(packed + 1)
    assert layer.offsets(layer.lengths) is offsets
    assert layer.offsets((5, 5, 5)).tolist() == [0, 5, 10, 15]
    assert PackedTokens(packed, packed, (3, 1, 4)).offsets((3, 1, 4)) is not offsets
