import json
from pathlib import Path

import pytest

from models.config import DetrConfig
from models.weights.errors import CorruptCheckpoint, UnsupportedModel
from models.weights.transformers_config import read_transformers_config


def read(folder: Path, **fields: object) -> DetrConfig:
    (folder / "config.json").write_text(json.dumps({"model_type": "detr", **fields}))
    return read_transformers_config(folder)


def test_absent_fields_are_as_published(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config == DetrConfig(tmp_path.name, ("LABEL_0", "LABEL_1"))


def test_table_transformers_norm_first(tmp_path: Path) -> None:
    assert read(tmp_path, model_type="table-transformer").pre_norm


def test_unused_ids_have_no_name(tmp_path: Path) -> None:
    config = read(tmp_path, id2label={"2": "bicycle", "0": "N/A", "1": "person"})
    assert config.labels == (None, "person", "bicycle")


@pytest.mark.parametrize("names", [{"1": "a", "2": "b"}, {"x": "a"}, {"0": 3}, {"0": None}])
def test_names_that_do_not_number_from_0_are_refused(names: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="id2label"):
        read(tmp_path, id2label=names)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "conditional_detr"}, "conditional_detr"),
        ({"model_type": None}, "model_type"),
        ({"architectures": ["DetrForSegmentation"]}, "DetrForSegmentation"),
        ({"activation_function": "gelu"}, "activation_function = 'gelu'"),
        ({"position_embedding_type": "learned"}, "position_embedding_type = 'learned'"),
        ({"num_channels": 1}, "num_channels"),
        ({"encoder_attention_heads": 4}, "decoder_attention_heads"),
        ({"decoder_ffn_dim": 64}, "decoder_ffn_dim"),
        ({"d_model": 100}, "heads"),
    ],
)
def test_what_is_not_supported_is_named(fields: dict[str, object], named: str, tmp_path: Path) -> None:
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
