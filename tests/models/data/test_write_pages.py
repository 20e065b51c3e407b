import numpy as np
import torch

from models.data.coco_files import training_files, validation_files
from models.data.pages import render_page
from models.data.pages.held_out import HELD_OUT_SEEDS
from models.data.write_pages import write_pages
from models.named_models import PAGE_LABELS
from models.training.data.coco_dataset import CocoDataset


def test_the_written_folder_reads_as_a_coco_data_set(tmp_path):
    write_pages(tmp_path, train=2, val=1, height=120, width=96)
    dataset = CocoDataset.read(training_files(tmp_path))
    assert dataset.labels == PAGE_LABELS
    assert len(dataset) == 2
    page, read = render_page(1, 120, 96), dataset[1]
    torch.testing.assert_close(read.boxes_xyxy, torch.from_numpy(page.boxes_xyxy), rtol=0, atol=0.03)
    assert read.labels.tolist() == page.labels.tolist()
    difference = read.pixels.float() - torch.from_numpy(np.asarray(page.image).transpose(2, 0, 1).copy())
    assert difference.abs().mean() < 8  # JPEG


def test_validation_pages_are_held_out(tmp_path):
    write_pages(tmp_path, train=1, val=1, height=120, width=96)
    files = validation_files(tmp_path)
    assert files is not None
    held_out = CocoDataset.read(files)[0]
    page = render_page(HELD_OUT_SEEDS, 120, 96)
    torch.testing.assert_close(held_out.boxes_xyxy, torch.from_numpy(page.boxes_xyxy), rtol=0, atol=0.03)
