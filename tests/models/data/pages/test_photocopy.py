import random

import numpy as np
from PIL import Image, ImageDraw

from models.data.pages.photocopy import photocopy


def test_boxes_follow_the_ink_of_a_black_and_white_copy() -> None:
    image = Image.new("RGB", (300, 400), "white")
    ImageDraw.Draw(image).rectangle((60, 90, 219, 149), fill=(70, 60, 60))
    labels = np.array([3])
    for seed in range(12):
        boxes = np.array([[60, 90, 220, 150]], np.float32)
        copy, turned, kept = photocopy(image, boxes, labels, random.Random(seed))
        assert (copy.mode, copy.size, kept.tolist()) == ("RGB", (300, 400), [3])
        values = np.asarray(copy)[..., 0]
        x0, y0, x1, y1 = turned[0].round().astype(int)
        assert (values[y0:y1, x0:x1] < 128).mean() > 0.75
        around = values[y0 - 12 : y1 + 12, x0 - 12 : x1 + 12] < 128
        assert around.sum() - (values[y0:y1, x0:x1] < 128).sum() < 0.1 * around.sum()
        assert np.isin(values, (0, 255)).mean() > 0.8
