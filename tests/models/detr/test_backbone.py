import pytest
import torch
from torchvision.models import resnet18, resnet50
from torchvision.ops import FrozenBatchNorm2d

from models.config import RESNET50, RESNET50_DC5, BackboneConfig
from models.detr.backbone import Backbone, ResNetBody, fold_batch_norms


def torchvision_features(model, image):
    x = model.maxpool(model.relu(model.bn1(model.conv1(image))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (RESNET50, lambda: resnet50(norm_layer=FrozenBatchNorm2d)),
        (
            RESNET50_DC5,
            lambda: resnet50(norm_layer=FrozenBatchNorm2d, replace_stride_with_dilation=[False, False, True]),
        ),
        (BackboneConfig("basic", (2, 2, 2, 2)), lambda: resnet18(norm_layer=FrozenBatchNorm2d)),
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
