"""The extra parts supervise the model and do not change its results."""

from dataclasses import replace

import pytest
import torch

from models.attention.exact import ExactAttention
from models.attention_config import AttentionConfig
from models.detr.detr import Detr
from models.images import ImageBatch
from models.resizing import Resizing
from models.training.objective.losses import set_loss
from models.training.objective.matcher import Target
from models.training.objective.training_detr import TrainingDetr, cell_centres, size_runs


@pytest.fixture
def detr(tiny_config) -> Detr:
    torch.manual_seed(0)
    return Detr(replace(tiny_config, encoder_layers=1), torch.nn.BatchNorm2d)


def batch() -> ImageBatch:
    return ImageBatch.from_images(list(torch.randn(2, 3, 36, 28, generator=torch.Generator().manual_seed(1))))


def targets() -> list[Target]:
    boxes = torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.7, 0.6, 0.3, 0.2]])
    return [
        Target(torch.tensor([0, 1]), boxes),
        Target(torch.tensor([], dtype=torch.int64), torch.zeros(0, 4)),
    ]


def test_own_queries_answer_as_without_the_extra_ones(detr):
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True).eval()
    with torch.no_grad():
        plain = detr(batch(), ExactAttention())
        decoded = hybrid.decode(plain.encoded.tokens)
    assert decoded.shape == (2, 2, 16, 32)
    own = decoded[-1, :, :9]
    torch.testing.assert_close(detr.class_embed(own), plain.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(detr.bbox_embed(own), plain.boxes_cxcywh, rtol=0, atol=1e-5)


def test_extra_queries_do_not_see_the_models_own(detr):
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=False).eval()
    with torch.no_grad():
        memory = detr.transformer.encoder(detr.tokens(batch()), ExactAttention()).tokens
        before = hybrid.decode(memory)
        detr.query_embed.weight.add_(1)
        after = hybrid.decode(memory)
    torch.testing.assert_close(after[:, :, 9:], before[:, :, 9:], rtol=0, atol=1e-5)
    assert not torch.allclose(after[:, :, :9], before[:, :, :9], atol=1e-2)


def test_one_to_one_loss_is_the_plain_models(detr):
    with torch.no_grad():
        losses = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)(batch(), targets())
        plain = TrainingDetr(detr, extra_queries=0, repeats=1, dense=False)(batch(), targets())
        memory = detr.transformer.encoder(detr.tokens(batch()), ExactAttention()).tokens
        decoded = detr.transformer.decoder(detr.query_embed.weight, memory)
        direct = set_loss(detr.class_embed(decoded), detr.bbox_embed(decoded), targets())
    torch.testing.assert_close(losses.one_to_one.total, direct.total)
    torch.testing.assert_close(plain.total, direct.total)
    assert list(plain.parts()) == ["one_to_one"]


def test_total_sums_the_parts(detr):
    losses = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)(batch(), targets())
    assert list(losses.parts()) == ["one_to_one", "one_to_many", "dense"]
    parts = sum(terms.total.item() for terms in losses.parts().values())
    assert losses.total.item() == pytest.approx(parts, rel=1e-5)


def test_every_parameter_gets_a_gradient(detr):
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)
    hybrid(batch(), targets()).total.backward()
    assert [name for name, value in hybrid.named_parameters() if value.grad is None] == []
    # The first decoder layer's self-attention starts from zeros: DETR's own gradients may be zero there.
    extra = [value for name, value in hybrid.named_parameters() if not name.startswith("detr.")]
    assert all(value.grad.any() for value in extra)


def test_extra_parameters_stay_out_of_the_model(detr):
    before = {name: value.shape for name, value in detr.state_dict().items()}
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)
    assert {name: value.shape for name, value in hybrid.detr.state_dict().items()} == before
    extra = {name for name in hybrid.state_dict() if not name.startswith("detr.")}
    assert {name.split(".")[0] for name in extra} == {"extra_embed", "dense_head"}


def test_training_on_one_batch_lowers_every_loss(detr):
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)
    optimizer = torch.optim.AdamW(hybrid.parameters(), 1e-3)
    first = hybrid(batch(), targets())
    for _ in range(60):
        optimizer.zero_grad()
        losses = hybrid(batch(), targets())
        losses.total.backward()
        optimizer.step()
    for name, terms in losses.parts().items():
        assert terms.total < 0.7 * first.parts()[name].total, name


def test_images_of_several_sizes_in_any_order(tiny_config):
    # 36 x 28 and 28 x 36 make equally many tokens, in maps of other shapes.
    images = [torch.randn(3, *size) for size in ((36, 28), (28, 36), (36, 28))]
    boxes = [torch.rand(n, 4) * 0.4 + 0.2 for n in (2, 1, 0)]
    wanted = [Target(torch.zeros(len(box), dtype=torch.int64), box) for box in boxes]
    hybrid = TrainingDetr(Detr(tiny_config), extra_queries=7, repeats=3, dense=True)
    with torch.no_grad():
        first, second = (
            hybrid(ImageBatch.from_images([images[index] for index in order]), [wanted[index] for index in order])
            for order in ((0, 1, 2), (2, 0, 1))
        )
    for name, value in first.scalars().items():
        torch.testing.assert_close(second.scalars()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_neighbours_of_one_size_run_together(tiny_config):
    batch = ImageBatch.from_images([torch.zeros(3, *size) for size in ((36, 28), (28, 36), (28, 36), (36, 28))])
    assert list(size_runs(batch, tiny_config)) == [(1, 5, 4), (2, 4, 5), (1, 5, 4)]


def test_on_a_canvas_the_losses_are_those_of_what_is_served(tiny_config):
    torch.manual_seed(0)
    config = replace(tiny_config, decoder_layers=1, resizing=Resizing("sides", None, (44, 51)))
    hybrid = TrainingDetr(Detr(config), extra_queries=7, repeats=3, dense=True).eval()
    images = ImageBatch.from_images([torch.randn(3, *size) for size in ((36, 28), (20, 51), (36, 28))])
    wanted = [*targets(), targets()[0]]
    with torch.no_grad():
        losses = hybrid(images, wanted)
        served = hybrid.detr(images, ExactAttention())
        expected = set_loss(served.logits[None], served.boxes_cxcywh[None], wanted)
    torch.testing.assert_close(losses.one_to_one.total, expected.total)
    assert all(term.isfinite() for term in losses.scalars().values())


@pytest.mark.half
def test_reduced_precision_leaves_losses_in_float32(detr):
    hybrid = TrainingDetr(detr, extra_queries=7, repeats=3, dense=True)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = hybrid(batch(), targets())
    full = hybrid(batch(), targets())
    for name, value in full.scalars().items():
        assert reduced.scalars()[name].dtype == torch.float32
        torch.testing.assert_close(reduced.scalars()[name], value, rtol=0.1, atol=0.05, msg=name)


def test_cells_lie_row_by_row():
    assert cell_centres(2, 4).tolist() == [[x, y] for y in (0.25, 0.75) for x in (0.125, 0.375, 0.625, 0.875)]


def test_a_second_attention_takes_turns_with_exact_attention(detr):
    second = AttentionConfig.tangent(C=2)
    model = TrainingDetr(detr, extra_queries=0, repeats=1, dense=False, second_attention=second)
    torch.manual_seed(0)
    assert {model.attention() for _ in range(40)} == {AttentionConfig.exact(), second}
    plain = TrainingDetr(detr, extra_queries=0, repeats=1, dense=False)
    assert {plain.attention() for _ in range(40)} == {AttentionConfig.exact()}


@pytest.mark.parametrize("second", ["tangent:C=2", "merge:ratio=0.5", "merge:ratio=0.5,C=2"])
def test_a_model_learns_through_its_second_attention(detr, monkeypatch, second):
    model = TrainingDetr(detr, 0, 1, dense=False, second_attention=AttentionConfig.parse(second))
    monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(0.9))
    model(batch(), targets()).total.backward()
    projection = detr.transformer.encoder.layers[0].self_attn.in_proj_weight
    assert projection.grad.view(3, -1).abs().sum(1).gt(0).all()  # of queries, keys and values
