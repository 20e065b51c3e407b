"""Masks as polygons: rings of points, as in COCO's files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.masks.masks import Cut
from models.masks.outlines import Ring, outlines


def polygons(mask: Cut) -> list[list[float]]:
    """A mask as COCO's polygons, one [x, y, x, y, ...] for each connected part, in pixels of the image; none if empty.

    The left edge of the image is x = 0. A polygon goes halfway between pixels inside and outside of the mask, so that
    it holds the centres of those inside, and of no others. A part with holes is one ring as well: it goes on from its
    outline to a hole, around that, and back the same way, which a filler by the even-odd rule leaves out.
    """
    origin = (mask.left, mask.top)
    return [(joined(rings) + origin).ravel().tolist() for rings in outlines(mask.bitmap)]


def joined(rings: Sequence[Ring]) -> Ring:
    """One ring from an outline and its holes, each joined to the nearest point of what is joined before, and back."""
    outline, *holes = rings
    for hole in holes:
        near = int(np.square(outline - hole[0]).sum(1).argmin())
        outline = np.concatenate((outline[: near + 1], hole, hole[:1], outline[near:]))
    return outline
