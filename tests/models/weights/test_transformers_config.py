import json
from pathlib import Path

import pytest

from models.config import DetrConfig
from models.resizing import Resizing
from models.weights.errors import CorruptCheckpoint, MismatchedWeights, UnsupportedModel
from models.weights.transformers_config import read_transformers_config, with_labels_of_head


def read(folder: Path, **fields: object) -> DetrConfig:
    (folder / "config.json").write_text(json.dumps({"model_type": "detr", **fields}))
    return read_transformers_config(folder)


def test_absent_fields_are_as_published(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config == DetrConfig(tmp_path.name, ("LABEL_0", "LABEL_1"), resizing=Resizing()).untuned()


def test_table_transformers_norm_first(tmp_path: Path) -> None:
    assert read(tmp_path, model_type="table-transformer").pre_norm


def test_unused_ids_have_no_name(tmp_path: Path) -> None:
    config = read(tmp_path, id2label={"2": "bicycle", "0": "N/A", "1": "person"})
    assert config.labels == (None, "person", "bicycle")


def test_ids_in_gaps_have_no_name(tmp_path: Path) -> None:
    assert read(tmp_path, id2label={"4": "cat", "1": "dog"}).labels == (None, "dog", None, None, "cat")


@pytest.mark.parametrize("names", [{"x": "a"}, {"-1": "a"}, {"1.0": "a"}, {"0": 3}, {"0": None}, {str(10**9): "a"}])
def test_names_of_invalid_class_ids_are_refused(names: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="id2label"):
        read(tmp_path, id2label=names)


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        ({"0": "a", "1": "b"}, 2, ("a", "b")),
        ({"0": "a", "3": "b"}, 4, ("a", None, None, "b")),
        ({"1": "a", "2": "b"}, 3, (None, "a", "b")),
        ({}, 5, tuple(f"LABEL_{i}" for i in range(5))),
    ],
)
def test_as_many_labels_as_the_head_has_classes(
    names: dict[str, object], classes: int, labels: tuple[str | None, ...], tmp_path: Path
) -> None:
    config = read(tmp_path, id2label=names)
    assert with_labels_of_head(config, classes, tmp_path).labels == labels


def test_a_name_beyond_the_head_is_logged_as_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = read(tmp_path, id2label={"1": "cat", "2": "dog"})
    assert with_labels_of_head(config, 2, tmp_path).labels == (None, "cat")
    assert "2 (dog)" in caplog.text


@pytest.mark.parametrize(("names", "classes"), [({"0": "table"}, 5), ({"7": "a", "8": "b"}, 2)])
def test_labels_that_do_not_fit_the_head_are_refused(names: dict[str, object], classes: int, tmp_path: Path) -> None:
    config = read(tmp_path, id2label=names)
    with pytest.raises(MismatchedWeights, match=f"the weights have {classes} classes"):
        with_labels_of_head(config, classes, tmp_path / "config.json")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "conditional_detr"}, "conditional_detr"),
        ({"model_type": None}, "model_type"),
        ({"architectures": ["DetrModel"]}, "DetrModel"),
        ({"activation_function": "gelu"}, "activation_function: Input should be 'relu', not 'gelu'"),
        ({"position_embedding_type": "learned"}, "position_embedding_type: Input should be 'sine', not 'learned'"),
        ({"num_channels": 1}, "num_channels"),
        ({"encoder_attention_heads": 4}, "decoder_attention_heads"),
        ({"decoder_ffn_dim": 64}, "decoder_ffn_dim"),
        ({"d_model": 100}, "heads"),
    ],
)
def test_unsupported_fields_are_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        read(tmp_path, **fields)


@pytest.mark.parametrize("field", ["d_model", "encoder_layers", "num_queries"])
@pytest.mark.parametrize("value", ["6", 0, -1, 1.5, True])
def test_counts_of_a_wrong_type_are_named(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=field):
        read(tmp_path, **{field: value})


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match=r"config\.json"):
        read_transformers_config(tmp_path)
