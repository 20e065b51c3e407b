import pytest
import torch
from torchvision import ops
from torchvision.models import resnet18, resnet50

from models.config import RESNET50, RESNET50_DC5, BackboneConfig
from models.detr import residual
from models.detr.backbone import Backbone, ResNetBody, fold_batch_norms
from models.detr.frozen_batch_norm import FrozenBatchNorm2d
from models.detr.residual import fuses


def torchvision_features(model, image):
    x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (RESNET50, lambda: resnet50(norm_layer=ops.FrozenBatchNorm2d)),
        (
            RESNET50_DC5,
            lambda: resnet50(norm_layer=ops.FrozenBatchNorm2d, replace_stride_with_dilation=[False, False, True]),
        ),
        (BackboneConfig("basic", (2, 2, 2, 2)), lambda: resnet18(norm_layer=ops.FrozenBatchNorm2d)),
    ],
)
def test_features_are_torchvisions(config, reference):
    torch.manual_seed(0)
    theirs = reference().eval()
    ours = ResNetBody(config, FrozenBatchNorm2d).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")})
    image = torch.randn(1, 3, 65, 97)
    with torch.inference_mode():
        expected, got = torchvision_features(theirs, image), ours(image)[-1]
    torch.testing.assert_close(got, expected)
    assert got.shape == (1, config.channels, -(-65 // config.stride), -(-97 // config.stride))


@pytest.mark.parametrize("config", [RESNET50_DC5, BackboneConfig("basic", (2, 2, 2), width=32)])
def test_fused_convolutions_equal_the_plain_ones(config, monkeypatch):
    torch.manual_seed(0)
    body = ResNetBody(config, FrozenBatchNorm2d).eval()
    fold_batch_norms(body)
    body.to(memory_format=torch.channels_last)
    image = torch.randn(1, 3, 65, 97).contiguous(memory_format=torch.channels_last)
    fused = []
    monkeypatch.setattr(residual, "fuses", lambda *arguments: fused.append(fuses(*arguments)) or fused[-1])
    with torch.inference_mode():
        got = body(image)
    assert all(fused) == torch.backends.mkldnn.is_available()
    with torch.no_grad():
        expected = body(image)
    for ours, plain in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5 * plain.abs().max())
        assert ours.is_contiguous(memory_format=torch.channels_last)


def test_nothing_fuses_where_the_fused_operator_would_be_wrong():
    conv, folded, norm = torch.nn.Conv2d(3, 3, 1), torch.nn.Identity(), FrozenBatchNorm2d(3)
    x = torch.randn(1, 3, 4, 4)
    assert not fuses(conv, folded, x)  # gradients may be wanted
    with torch.inference_mode():
        assert not fuses(conv, norm, x)
        assert not fuses(conv.double(), folded, x.double())
        assert not fuses(conv.to("meta"), folded, x.to("meta"))


def test_folding_covers_every_norm_and_keeps_features():
    torch.manual_seed(0)
    backbone = Backbone(BackboneConfig("bottleneck", (1, 2), width=8), torch.nn.BatchNorm2d)
    for _ in range(3):
        backbone(torch.randn(4, 3, 40, 40))  # gives the norms statistics that are not 0 and 1
    backbone.eval().double()
    image = torch.randn(2, 3, 33, 41, dtype=torch.float64)
    with torch.inference_mode():
        before = backbone(image)[-1]
        fold_batch_norms(backbone)
        after = backbone(image)[-1]
    assert not [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    torch.testing.assert_close(after, before)


def test_folding_refuses_what_is_not_a_norm():
    block = torch.nn.Module()
    block.conv1, block.bn1 = torch.nn.Conv2d(3, 3, 1), torch.nn.GroupNorm(1, 3)
    with pytest.raises(TypeError, match="batch norm"):
        fold_batch_norms(block)
