"""A detector with four times the encoder tokens on the same image and the same weights.

The backbone's last stage keeps its predecessor's stride and dilates its convolutions instead, as DETR-DC5 does: where
there was a feature before there is the same one, and three new ones beside it. A model need not have been trained so:
attention averages over more tokens that say much the same. So it shows what many tokens cost and lose with a model that
still works, where larger images would show it things of a size that it has never seen.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from models.detector import Detector


def dense_features(detector: Detector) -> Detector:
    """The same detector at half the stride. Raises ValueError where its backbone is dilated already."""
    if detector.config.backbone.dilation:
        raise ValueError(f"the feature map of {detector.name} is dense already")
    dense = copy.copy(detector)
    dense.config = replace(detector.config, backbone=replace(detector.config.backbone, dilation=True))
    dense.detr = copy.deepcopy(detector.detr)
    dense.detr.config = dense.config
    convolutions = [module for module in _last_stage(dense.detr).modules() if isinstance(module, nn.Conv2d)]
    strided = {module for module in convolutions if module.stride != (1, 1)}
    before = True  # what comes before the stride is as dense as it was
    for module in convolutions:
        if module in strided:
            module.stride = (1, 1)
        elif not before and module.kernel_size != (1, 1):
            module.dilation = (2, 2)
            module.padding = (2, 2)
        before = before and module not in strided
    return dense


def _last_stage(detr: nn.Module) -> nn.Module:
    stages = [module for name, module in detr.named_modules() if name.rpartition(".")[2].startswith("layer")]
    return [stage for stage in stages if isinstance(stage, nn.Sequential) and len(stage) and _is_block(stage[0])][-1]


def _is_block(module: nn.Module) -> bool:
    return hasattr(module, "conv1")
