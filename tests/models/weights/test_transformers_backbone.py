import pytest

from models.config import RESNET50, RESNET50_DC5, RESNET101_DC5, BackboneConfig
from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.foreign_json import parsed
from models.weights.transformers_backbone import BackboneFields, read_backbone


def read(**config: object) -> BackboneConfig:
    return read_backbone(parsed(BackboneFields, config, "config.json"), "config.json")


def timm(**fields: object) -> BackboneConfig:
    return read(backbone_config={"model_type": "timm_backbone", "backbone": "resnet50", **fields})


def own(**fields: object) -> BackboneConfig:
    return read(backbone_config={"model_type": "resnet", **fields})


def test_forms_of_version_4() -> None:
    assert read() == RESNET50
    assert read(use_timm_backbone=True, backbone="resnet50", dilation=True) == RESNET50_DC5
    assert read(backbone="resnet101", dilation=True, backbone_config=None) == RESNET101_DC5
    assert read(backbone="tv_resnet50.a1_in1k", backbone_kwargs={"out_indices": [1, 2, 3, 4]}) == RESNET50
    assert read(use_timm_backbone=False) == RESNET50


def test_forms_of_version_5() -> None:
    assert timm() == RESNET50
    assert timm(output_stride=16) == RESNET50_DC5
    assert timm(output_stride=32) == RESNET50
    assert timm(backbone="resnet34") == BackboneConfig("basic", (3, 4, 6, 3))
    assert own(out_features=["stage4"], out_indices=[4]) == RESNET50


def test_only_the_stages_that_are_used_count() -> None:
    three = BackboneConfig("bottleneck", (3, 4, 6))
    assert timm(out_indices=[3]) == three
    assert timm(out_indices=[2, -2]) == three
    assert timm(out_indices=[3], output_stride=16) == three
    assert timm(out_features=["layer3"]) == three
    assert own(out_features=["stage2", "stage3"]) == three


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"backbone": "resnet50d"}, "resnet50d"),
        ({"backbone": "convnext_tiny"}, "convnext_tiny"),
        ({"output_stride": 8}, "output_stride 8"),
        ({"backbone": "resnet18", "output_stride": 16}, "output_stride 16"),
        ({"num_channels": 1}, "num_channels"),
        ({"out_indices": [0]}, "out_indices"),
        ({"out_indices": [7]}, "out_indices"),
        ({"out_indices": "last"}, "out_indices"),
        ({"model_type": "swin"}, "swin"),
    ],
)
def test_unsupported_timm_backbones_are_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        timm(**fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"downsample_in_bottleneck": True}, "downsample_in_bottleneck"),
        ({"downsample_in_first_stage": True}, "downsample_in_first_stage"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"layer_type": "wide"}, "layer_type"),
        ({"hidden_sizes": [256, 512, 1024, 1024]}, "hidden_sizes"),
        ({"embedding_size": 32}, "hidden_sizes"),
        ({"depths": [3, 4, 6]}, "hidden_sizes"),
        ({"layer_type": "basic"}, "hidden_sizes"),
    ],
)
def test_unsupported_resnets_are_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        own(**fields)


@pytest.mark.parametrize("depths", ["3", [], [3, 0], [3, 2.5], [True]])
def test_fields_of_a_wrong_type_are_named(depths: object) -> None:
    with pytest.raises(CorruptCheckpoint, match="depths"):
        own(depths=depths)
    with pytest.raises(CorruptCheckpoint, match="backbone_config"):
        read(backbone_config="resnet50")
