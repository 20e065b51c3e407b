"""Models that have a name have the shape that the name promises."""

from dataclasses import replace

import pytest

from models.named_models import EMBEDDED, coco_labels, named_config, pages_large, pages_small


def test_coco_labels_are_indexed_by_category_id():
    labels = coco_labels()
    assert len(labels) == 91
    assert labels[1] == "person"
    assert labels[90] == "toothbrush"
    assert labels[0] is None
    assert labels[12] is None
    assert sum(label is not None for label in labels) == 80


@pytest.mark.parametrize(
    ("name", "stride"),
    [("detr-r50", 32), ("detr-r50-dc5", 16), ("detr-r101", 32), ("pages-small", 16), ("pages-large", 16)],
)
def test_named_models_have_their_stride(name, stride):
    assert named_config(name).backbone.stride == stride


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="detr-r101-dc5"):
        named_config("detr-r18")


def test_the_embedded_model_has_heads_of_32_and_six_encoder_layers():
    config = pages_small()
    assert config.head_dim == 32
    assert config.encoder_layers == 6
    assert config.shortest_side // 16 * -(-config.shortest_side * 792 // 612 // 16) >= 600


def test_the_large_embedded_model_is_the_small_one_doubled():
    small, large = pages_small(), pages_large()
    own = {name: getattr(large, name) for name in ("name", "trained_sides", "merge_ratio", "vouched")}
    assert large == replace(small.doubled(), **own)
    assert (large.shortest_side, large.longest_side) == (2 * small.shortest_side, 2 * small.longest_side)
    assert large.sides[0] <= large.shortest_side <= large.sides[1]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_models_are_known_by_their_own_name(name):
    assert named_config(name).name == name


def test_published_models_vouch_for_nothing_that_was_not_measured_here():
    assert named_config("detr-r50").vouched == ()
