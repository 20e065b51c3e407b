import json

import pytest

from models.data.coco import read_coco


def test_reads_coco_annotations(tmp_path):
    path = tmp_path / "instances.json"
    document = {
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "images": [
            {"id": 7, "file_name": "b.jpg", "height": 20, "width": 30},
            {"id": 3, "file_name": "a.jpg", "height": 40, "width": 50},
        ],
        "annotations": [
            {"id": 5, "image_id": 3, "category_id": 18, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0},
            {"id": 9, "image_id": 3, "category_id": 1, "bbox": [0, 0, 5.5, 5], "area": 9, "iscrowd": 1},
        ],
    }
    path.write_text(json.dumps(document))
    empty, full = read_coco(path)
    assert (empty.file_name, empty.height, empty.width) == ("b.jpg", 20, 30)
    assert empty.truth.boxes_xyxy.shape == (0, 4)
    assert full.truth.labels == ("dog", "person")
    assert full.truth.boxes_xyxy.tolist() == [[1, 2, 11, 22], [0, 0, 5.5, 5]]
    assert full.truth.crowd.tolist() == [False, True]
    assert full.truth.areas.tolist() == [150.5, 9]


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"images": [], "categories": [], "annotations": 3}'])
def test_refuses_other_files(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="not a COCO annotation file"):
        read_coco(path)
