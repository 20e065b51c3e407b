import json
from pathlib import Path

import numpy as np
import pytest

from models.resizing import Resizing
from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.transformers_preprocessor import Preprocessor, read_preprocessor


def read(folder: Path, **fields: object) -> Preprocessor:
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))
    return read_preprocessor(folder)


def test_without_a_file_all_is_as_published(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    published = Preprocessor(800, 1333, Resizing(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert read_preprocessor(tmp_path) == published
    assert "as for the published models" in caplog.text
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
    ("fields", "resizing"),
    [
        ({}, Resizing()),
        ({"size": {"max_height": 640, "max_width": 480}}, Resizing("inside", (640, 480))),
        ({"size": {"height": 640, "width": 480}}, Resizing("exact", (640, 480))),
        ({"size": [640, 480]}, Resizing("exact", (640, 480))),
        ({"do_resize": False}, Resizing("none")),
        ({"pad_size": {"height": 1333, "width": 1400}}, Resizing("sides", None, (1333, 1400))),
        ({"pad_size": {"height": 1333, "width": 1400}, "do_pad": False}, Resizing()),
        ({"pad_size": {"height": 1333, "width": 1400}, "pad_and_return_pixel_mask": False}, Resizing()),
        ({"pad_size": {"height": 1333, "width": 1400}, "do_pad": True}, Resizing("sides", None, (1333, 1400))),
        ({"pad_size": [1333, 1400]}, Resizing("sides", None, (1333, 1400))),
        ({"pad_size": 1400}, Resizing("sides", None, (1400, 1400))),
        ({"do_resize": False, "pad_size": 1400}, Resizing("none", None, (1400, 1400))),
    ],
)
def test_rules_and_canvas(fields: dict[str, object], resizing: Resizing, tmp_path: Path) -> None:
    assert read(tmp_path, **fields).resizing == resizing


def test_sides_of_other_rules_are_those_of_their_size(tmp_path: Path) -> None:
    images = read(tmp_path, size={"max_height": 640, "max_width": 480})
    assert (images.shortest_side, images.longest_side) == (480, 640)


def test_a_checkpoint_without_a_file_takes_its_run_s(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "checkpoint-500"
    checkpoint.mkdir()
    expected = read(tmp_path, size={"shortest_edge": 480, "longest_edge": 640})
    assert read_preprocessor(checkpoint) == expected
    assert f"{checkpoint} holds no preprocessor_config.json" in caplog.text
    own = read(checkpoint, size={"height": 64, "width": 64})
    assert own.resizing == Resizing("exact", (64, 64))


def test_only_checkpoints_read_the_folder_above(tmp_path: Path) -> None:
    read(tmp_path, size={"shortest_edge": 480, "longest_edge": 640})
    (tmp_path / "model").mkdir()
    assert read_preprocessor(tmp_path / "model").shortest_side == 800


def test_the_image_processor_inside_a_processor_comes_first(tmp_path: Path) -> None:
    read(tmp_path, size={"shortest_edge": 480, "longest_edge": 640})
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Other"}))
    assert read_preprocessor(tmp_path).shortest_side == 480
    inner = {"image_processor": {"size": {"shortest_edge": 320, "longest_edge": 640}}}
    (tmp_path / "processor_config.json").write_text(json.dumps(inner))
    assert read_preprocessor(tmp_path).shortest_side == 320


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
        ({"size": {}}, "size"),
        ({"size": {"height": 640}}, "size"),
        ({"size": {"max_height": 640, "shortest_edge": 480}}, "size"),
        ({"size": {"min_pixels": 640, "max_pixels": 4800}}, "size"),
        ({"pad_size": {"longest_edge": 640}}, "pad_size"),
        ({"size": {"height": 640, "width": 640}, "pad_size": {"height": 600, "width": 800}}, "fit in pad_size"),
        ({"size": {"max_height": 640, "max_width": 640}, "pad_size": 600}, "fit in pad_size"),
    ],
)
def test_unsupported_fields_are_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
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
        ({"do_resize": "no"}, "do_resize"),
        ({"do_pad": 1}, "do_pad"),
        ({"size": [800]}, "size"),
        ({"pad_size": [640, 640, 3]}, "pad_size"),
        ({"pad_size": {"height": 0, "width": 640}}, "height"),
        ({"pad_size": "large"}, "pad_size"),
    ],
)
def test_fields_of_a_wrong_type_are_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=named):
        read(tmp_path, **fields)


def test_another_resampling_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read(tmp_path, resample=3)
    assert "not bilinear" in caplog.text
