import json
from pathlib import Path

import numpy as np
import pytest

from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.transformers_preprocessor import Preprocessor, read_preprocessor


def read(folder: Path, **fields: object) -> Preprocessor:
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    return read_preprocessor(folder)


def test_without_a_file_all_is_as_published(tmp_path: Path) -> None:
    published = Preprocessor(800, 1333, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert read_preprocessor(tmp_path) == published
    assert read(tmp_path) == published


@pytest.mark.parametrize(
    ("fields", "sides"),
    [
        ({"size": {"shortest_edge": 480, "longest_edge": 640}}, (480, 640)),
        ({"size": {"shortest_edge": 480}}, (480, 1333)),
        ({"size": {"shortest_edge": 1500}}, (1500, 1500)),
        ({"size": {"longest_edge": 1000}}, (1000, 1000)),
        ({"size": {"shortest_edge": 480, "longest_edge": 640, "height": None}}, (480, 640)),
        ({"size": 800, "max_size": 1000}, (800, 1000)),
        ({"size": 600}, (600, 1333)),
    ],
)
def test_sides(fields: dict[str, object], sides: tuple[int, int], tmp_path: Path) -> None:
    images = read(tmp_path, **fields)
    assert (images.shortest_side, images.longest_side) == sides


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [120.0, 110.0, 100.0], "image_std": [60.0, 50.0, 40.0]},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]},
    ],
)
def test_normalises_like_transformers(fields: dict[str, object], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    images = read(tmp_path, **fields)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    processor = transformers.DetrImageProcessor(do_resize=False, do_pad=False, **fields)
    theirs = processor(images=pixels, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    ours = (pixels / 255 - np.array(images.mean)) / np.array(images.std)
    np.testing.assert_allclose(ours.transpose(2, 0, 1), theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"size": {"height": 640, "width": 640}}, "size"),
        ({"size": {"max_height": 640, "max_width": 640}}, "size"),
        ({"size": {}}, "size"),
        ({"do_resize": False}, "do_resize"),
    ],
)
def test_what_is_not_supported_is_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        read(tmp_path, **fields)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"size": "large"}, "size"),
        ({"size": {"shortest_edge": "800"}}, "shortest_edge"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"image_std": [0.5, 0.5, None]}, "image_std"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"rescale_factor": 0}, "rescale_factor"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"do_normalize": "yes"}, "do_normalize"),
    ],
)
def test_fields_of_a_wrong_type_are_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=named):
        read(tmp_path, **fields)


def test_another_resampling_is_said_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, resample=3)
    assert "not bilinear" in caplog.text
