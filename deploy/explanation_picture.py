"""Draw docs/explanation.png: clusters and the attention of a point of the sample page, as the service draws them.

python -m deploy.explanation_picture
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deploy.local_server import ROOT
from models import AttentionConfig, load_detector
from models.explanation import AttentionMap, Explanation, explain
from models.whole_file import whole_file
from service.images.explanation_drawing import draw_clusters, draw_weights

SAMPLE: Final = ROOT / "models" / "pretrained" / "sample-page.jpg"
PICTURE: Final = ROOT / "docs" / "explanation.png"
ATTENTION: Final = AttentionConfig.tangent(8)
LAYER, HEAD, POINT = 2, 1, (500, 560)
PANEL: Final = (330, 427)
CAPTION: Final = 26
GAP: Final = 12
COLORS: Final = 256


def explained_sample() -> tuple[Explanation, AttentionMap, list[bytes]]:
    """Return the explanation, its attention map, and PNGs of clusters, exact and approximate attention."""
    pixels = np.asarray(Image.open(SAMPLE).convert("RGB"))
    detector = load_detector(device="cpu", precision="fp32")
    explanation = explain(detector, detector.preprocess(pixels), ATTENTION, LAYER, HEAD, POINT)
    clusters, attended = explanation.clusters, explanation.attention_map
    if clusters is None or attended is None or attended.approximate is None:
        raise RuntimeError("clustered attention and a point give all three")
    views = [draw_weights(pixels, one, attended.most, POINT) for one in (attended.exact, attended.approximate)]
    return explanation, attended, [draw_clusters(pixels, clusters, POINT), *views]


def side_by_side(panels: Sequence[bytes], captions: Sequence[str]) -> Image.Image:
    """Return the panels in a row on white, each under its caption."""
    width, height = PANEL
    sheet = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + CAPTION), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for index, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        left = index * (width + GAP)
        pen.text((left, 3), caption, "black", font)
        sheet.paste(Image.open(BytesIO(panel)).resize(PANEL, Image.Resampling.LANCZOS), (left, CAPTION))
    return sheet


def main(path: Path = PICTURE) -> None:
    """Write the picture, in few enough colours that a page loads quickly."""
    explanation, attended, panels = explained_sample()
    captions = (
        f"{explanation.cluster_count} clusters of {explanation.grid[0] * explanation.grid[1]} tokens",
        "exact attention of the point",
        f"{explanation.attention.mode} attention, difference {attended.difference:.3f}",
    )
    sheet = side_by_side(panels, captions).quantize(COLORS, Image.Quantize.MAXCOVERAGE)
    with whole_file(path) as part:
        sheet.save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
