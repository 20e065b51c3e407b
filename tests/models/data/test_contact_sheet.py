import numpy as np

from models.data.coco import GroundTruth
from models.data.contact_sheet import GAP, contact_sheet
from models.data.samples import Sample


def test_images_are_laid_out_with_their_boxes_in_the_colour_of_their_class():
    white = np.full((40, 20, 3), 255, np.uint8)
    truth = GroundTruth(np.array([[2, 4, 10, 20]], np.float32), ("table",))
    sheet = contact_sheet([Sample(white, truth)] * 3, columns=2, side=20)
    pitch = 20 + GAP
    assert sheet.size == (2 * pitch, 2 * pitch)
    for x, y in ((0, 0), (pitch, 0), (0, pitch)):
        assert sheet.getpixel((x + 1, y + 2)) == (255, 0, 255)
        assert sheet.getpixel((x + 3, y + 5)) == (255, 255, 255)
    assert sheet.getpixel((pitch + 1, pitch + 2)) == (128, 128, 128)
