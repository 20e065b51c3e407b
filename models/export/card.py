"""The README.md of an exported folder: what it is, how it is used, and what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from models.config import DetrConfig
from models.weights.own_settings import FIELD

MANY: Final = 12

TRANSFORMERS: Final = """\
---
library_name: transformers
pipeline_tag: object-detection
tags: [object-detection, vision, {tag}]
---

# {name}

A [DETR](https://arxiv.org/abs/2005.12872) that finds {classes}, exported by act-detr {version}. Images are resized so
that the shortest side is {shortest} pixels, unless the longest would then exceed {longest}.

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection

processor = AutoImageProcessor.from_pretrained("FOLDER")
model = AutoModelForObjectDetection.from_pretrained("FOLDER")
image = Image.open("image.png").convert("RGB")
with torch.inference_mode():
    outputs = model(**processor(image, return_tensors="pt"))
(found,) = processor.post_process_object_detection(outputs, threshold=0.5, target_sizes=[image.size[::-1]])
```
{nms}
`{field}` in config.json holds what act-detr knows of the model and transformers does not. act-detr serves this folder:
`act-detr serve --model FOLDER`.
"""

NMS: Final = """
The model can find an object twice. act-detr drops a box whose IoU with a better one of its class is above {nms}:

```python
from torchvision.ops import batched_nms

kept = batched_nms(found["boxes"], found["scores"], found["labels"], {nms})
```
"""

GRAPH: Final = """\
# {name}

A [DETR](https://arxiv.org/abs/2005.12872) that finds {classes}, exported by act-detr {version} for {engine}.

| | name | shape | type | meaning |
|---|---|---|---|---|
| input | `image` | 1, {height}, {width}, 3 | uint8 | RGB, resized to this height and width; the graph normalises it |
| output | `boxes` | 1, {queries}, 4 | float32 | xmin, ymin, xmax, ymax in shares of the image, 0 to 1 |
| output | `scores` | 1, {queries} | float32 | 0 to 1 |
| output | `labels` | 1, {queries} | int64 | index into `labels` of the metadata |
| output | `keep` | 1, {queries} | bool | false for duplicates of a better box, and for classes without a name |

The file's metadata, as JSON:

```json
{metadata}
```
"""


def transformers_card(config: DetrConfig) -> str:
    """Return the card of a folder of transformers."""
    return TRANSFORMERS.format(
        tag="table-transformer" if config.pre_norm else "detr",
        name=config.name,
        classes=_classes(config),
        version=version("act-detr"),
        shortest=config.shortest_side,
        longest=config.longest_side,
        nms="" if config.nms is None else NMS.format(nms=f"{config.nms:g}"),
        field=FIELD,
    )


def graph_card(engine: str, config: DetrConfig, metadata: Mapping[str, Any]) -> str:
    """Return the card of a folder with a graph; `metadata` is what the graph's file says of itself."""
    return GRAPH.format(
        name=config.name,
        classes=_classes(config),
        version=version("act-detr"),
        engine=engine,
        height=metadata["height"],
        width=metadata["width"],
        queries=config.queries,
        metadata=json.dumps(metadata, ensure_ascii=False, indent=1),
    )


def _classes(config: DetrConfig) -> str:
    """The classes in words; of many, the first."""
    labels = [label for label in config.labels if label is not None]
    return ", ".join(labels) if len(labels) <= MANY else f"{len(labels)} classes ({', '.join(labels[:MANY])}, ...)"
