"""A detector with four times the encoder tokens on the same image, with the same weights.

The backbone's last stage keeps its predecessor's stride and dilates its convolutions instead, as DETR-DC5 does: every
feature is still there, with three new ones beside it. A model that was not trained for this still works, because
attention averages over more tokens of similar content. Larger images would show it objects of an unknown size instead.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from models.detector import Detector
from models.networks.own import OwnNetwork


def dense_features(detector: Detector) -> Detector:
    """Return the same detector at half the stride. Raises ValueError where its backbone is dilated already."""
    if detector.config.resnet.dilation:
        raise ValueError(f"the feature map of {detector.name} is dense already")
    dense = copy.copy(detector)
    dense.config = replace(detector.config, backbone=replace(detector.config.resnet, dilation=True))
    detr = copy.deepcopy(detector.detr)
    detr.config = dense.config
    dense.network = OwnNetwork(detr)
    last_stage = detr.get_submodule(f"backbone.0.body.layer{len(dense.config.resnet.blocks)}")
    denser = False  # what comes before the stride stays as it is
    for convolution in (module for module in last_stage.modules() if isinstance(module, nn.Conv2d)):
        if convolution.stride != (1, 1):
            convolution.stride = (1, 1)
            denser = True
        elif denser and convolution.kernel_size != (1, 1):
            convolution.dilation = convolution.padding = (2, 2)
    return dense
