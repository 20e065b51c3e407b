import torch

from models.boxes import cxcywh_to_xyxy, scale_to_pixels, xyxy_to_cxcywh


def test_formats_convert_and_come_back():
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.6]])
    corners = cxcywh_to_xyxy(boxes)
    torch.testing.assert_close(corners, torch.tensor([[0.4, 0.1, 0.6, 0.7]]))
    torch.testing.assert_close(xyxy_to_cxcywh(corners), boxes)


def test_width_scales_x_and_height_scales_y():
    scaled = scale_to_pixels(torch.tensor([0.5, 0.5, 1.0, 1.0]), height=10, width=200)
    assert scaled.tolist() == [100, 5, 200, 10]
