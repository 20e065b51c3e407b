from dataclasses import replace

import pytest
import torch

from models.attention_config import AttentionConfig
from models.config import BackboneConfig
from models.data.samples import PageSamples
from models.detector import Detector
from models.detr.detr import Detr
from models.reproduction.dense_features import dense_features


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_dense_features_keep_every_token_and_add_three_beside_it(tiny_detr, block):
    config = replace(tiny_detr.config, backbone=BackboneConfig(block, (1, 2, 2), width=8))
    detector = Detector(Detr(config))
    dense = dense_features(detector)
    (sample,) = PageSamples(1, 120, 88)
    prepared = detector.preprocess(sample.image)
    few, many = (one.encoder_tokens(prepared) for one in (detector, dense))
    stride = config.backbone.stride
    height, width = (-(-side // stride) for side in (prepared.height, prepared.width))
    assert dense.tokens(prepared) == many.lengths[0] > 3 * few.lengths[0]
    tall, wide = (-(-2 * side // stride) for side in (prepared.height, prepared.width))
    kept = many.values.view(tall, wide, -1)[::2, ::2]
    rounding = 1e-3 * few.values.abs().max().item()  # ten convolutions of hundreds of products, in any order
    torch.testing.assert_close(kept, few.values.view(height, width, -1), rtol=0, atol=rounding)
    assert detector.config.backbone.dilation is False
    assert dense.detect(sample.image, AttentionConfig.exact()).attention.tokens == tall * wide


def test_dense_features_are_not_made_denser(tiny_detr):
    with pytest.raises(ValueError, match="dense already"):
        dense_features(dense_features(Detector(tiny_detr)))
