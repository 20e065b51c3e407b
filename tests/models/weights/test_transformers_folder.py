"""Folders that transformers writes, against transformers itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from models.attention.exact import ExactAttention
from models.detr.detr import Detr
from models.images import ImageBatch
from models.named_models import PAGE_LABELS
from models.resizing import Resizing
from models.weights.errors import CorruptCheckpoint, MismatchedWeights, UnsafeCheckpoint
from models.weights.strict_load import load_strict
from models.weights.transformers_folder import load_transformers_folder

transformers = pytest.importorskip("transformers")

SMALL = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "num_queries": 7,
    "id2label": dict(enumerate(PAGE_LABELS)),
    "label2id": {label: i for i, label in enumerate(PAGE_LABELS)},
}
TIMM = {
    "timm-basic": {"backbone": "resnet18"},
    "timm-bottleneck": {"backbone": "resnet26"},
    "timm-dc5": {"backbone": "resnet26", "dilation": True},
    "timm-three-stages": {
        "backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2, 3]}
    },
}
OWN = {
    "own-bottleneck": {
        "embedding_size": 8,
        "hidden_sizes": [32, 64, 128, 256],
        "depths": [1, 2, 2, 1],
        "out_features": ["stage4"],
    },
    "own-basic": {
        "layer_type": "basic",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 32],
        "depths": [1, 2, 1],
        "out_features": ["stage3"],
    },
    "own-three-of-four-stages": {
        "layer_type": "basic",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 32, 64],
        "depths": [1, 1, 2, 1],
        "out_features": ["stage3"],
    },
}
FORMS = [*TIMM, *OWN]
KINDS = ["detr", "table-transformer"]


def make_model(kind: str, form: str, **changes: object) -> nn.Module:
    """A transformers model with random weights and random batch-norm statistics."""
    if form.startswith("timm"):
        pytest.importorskip("timm")
        backbone = TIMM[form]
    else:
        backbone = {"use_timm_backbone": False, "backbone_config": transformers.ResNetConfig(**OWN[form])}
    fields = {**SMALL, **backbone, **changes}
    torch.manual_seed(0)
    if kind == "detr":
        return randomised(transformers.DetrForObjectDetection(transformers.DetrConfig(**fields)))
    return randomised(transformers.TableTransformerForObjectDetection(transformers.TableTransformerConfig(**fields)))


def randomised(model: nn.Module) -> nn.Module:
    """Every scale, shift and statistic takes a value that would show if it went to a wrong place."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("running_var", "norm.weight")) or (value.dim() == 1 and name.endswith("weight")):
                value.uniform_(0.6, 1.4)
            elif value.dim() == 1 and value.is_floating_point():
                value.uniform_(-0.3, 0.3)
            elif "class_labels" in name or "bbox_predictor" in name:
                value.normal_(0, 1.5 / value.shape[1] ** 0.5)
            elif "query_position" in name:
                value.normal_()
    return model.eval()


def assert_same_answers(model: nn.Module, folder: Path, height: int = 75, width: int = 98) -> None:
    config, state = load_transformers_folder(folder)
    detr = Detr(config).eval()
    load_strict(detr, state)
    image = torch.randn(3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = model(pixel_values=image[None])
        ours = detr(ImageBatch.from_images([image]), ExactAttention())
    assert theirs.logits.std() > 0.1
    assert theirs.pred_boxes.std() > 0.01
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.boxes_cxcywh, theirs.pred_boxes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_answers_like_transformers(kind: str, form: str, tmp_path: Path) -> None:
    model = make_model(kind, form)
    model.save_pretrained(tmp_path)
    assert_same_answers(model, tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_reads_the_names_that_version_5_has_in_memory(form: str, tmp_path: Path) -> None:
    model = make_model("detr", form)
    model.save_pretrained(tmp_path, save_original_format=False)
    assert_same_answers(model, tmp_path)


def test_answers_like_transformers_at_the_published_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        backbone_config=transformers.ResNetConfig(out_features=["stage4"]),
        encoder_layers=2,
        decoder_layers=2,
        id2label={i: f"c{i}" for i in range(91)},
        label2id={f"c{i}": i for i in range(91)},
    )
    model = randomised(transformers.DetrForObjectDetection(config))
    model.save_pretrained(tmp_path)
    assert_same_answers(model, tmp_path, 160, 203)


def test_reads_shards(tmp_path: Path) -> None:
    model = make_model("table-transformer", "own-bottleneck")
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same_answers(model, tmp_path)


def test_reads_the_pickle_of_older_versions(tmp_path: Path) -> None:
    model = make_model("detr", "own-basic")
    save_as_pickle(model, tmp_path)
    assert_same_answers(model, tmp_path)


@pytest.mark.parametrize("prefix", ["module.", "model.", "module._orig_mod."])
def test_reads_weights_that_were_wrapped_when_they_were_saved(prefix: str, tmp_path: Path) -> None:
    model = make_model("detr", "own-basic")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    wrapped = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save(wrapped, tmp_path / "pytorch_model.bin")
    assert_same_answers(model, tmp_path)


def test_classes_with_gaps_are_named_as_transformers_names_them(tmp_path: Path) -> None:
    names = {0: "a", 2: "c", 3: "d"}
    model = make_model("detr", "own-basic", id2label=names, label2id={name: i for i, name in names.items()})
    assert model.config.num_labels == 3
    model.save_pretrained(tmp_path)
    config, _ = load_transformers_folder(tmp_path)
    assert config.labels == tuple(model.config.id2label.get(i) for i in range(3)) == ("a", None, "c")
    assert_same_answers(model, tmp_path)


def save_as_pickle(model: nn.Module, folder: Path) -> None:
    """What version 4 wrote by default: pytorch_model.bin, with batch norm's counters as newer backbones have."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    state = load_file(folder / "model.safetensors")
    state["model.backbone.conv_encoder.model.bn1.num_batches_tracked"] = torch.tensor(3)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_reads_the_configuration_of_version_4(tmp_path: Path) -> None:
    model = make_model("detr", "timm-dc5")
    model.save_pretrained(tmp_path)
    edit(
        tmp_path,
        backbone_config=None,
        use_timm_backbone=True,
        backbone="resnet26",
        use_pretrained_backbone=True,
        backbone_kwargs={"out_indices": [1, 2, 3, 4], "in_chans": 3},
    )
    assert_same_answers(model, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    make_model("detr", "own-basic").to(dtype).save_pretrained(tmp_path)
    _, state = load_transformers_folder(tmp_path)
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_norms_between_decoder_layers_are_kept(kind: str, tmp_path: Path) -> None:
    plain = make_model(kind, "own-basic")
    normed = make_model(kind, "own-basic", auxiliary_loss=True)
    normed.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert (plain(image).logits - normed(image).logits).abs().max() > 1e-3
    normed.save_pretrained(tmp_path)
    assert_same_answers(normed, tmp_path)


def test_labels_sizes_and_normalisation_come_from_the_folder(tmp_path: Path) -> None:
    make_model("table-transformer", "own-basic").save_pretrained(tmp_path / "tables")
    transformers.DetrImageProcessor(
        size={"shortest_edge": 480, "longest_edge": 640},
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.3, 0.4],
    ).save_pretrained(tmp_path / "tables")
    config, _ = load_transformers_folder(tmp_path / "tables")
    assert config.name == "tables"
    assert config.labels == PAGE_LABELS
    assert (config.shortest_side, config.longest_side) == (480, 640)
    assert config.mean == (0.5, 0.4, 0.3)
    assert config.std == (0.2, 0.3, 0.4)
    assert config.pre_norm
    assert config.queries == 7


def test_a_trainers_output_is_read(tmp_path: Path) -> None:
    """Its output folder has no model of its own until it is told to save one."""
    run = tmp_path / "run"
    better, newer = make_model("detr", "own-basic"), make_model("detr", "own-three-of-four-stages")
    processor = transformers.DetrImageProcessor(size={"max_height": 64, "max_width": 64}, pad_size=64)
    for step, model in ((500, better), (1000, newer)):
        model.save_pretrained(run / f"checkpoint-{step}")
        processor.save_pretrained(run / f"checkpoint-{step}")
        torch.save({"learning_rate": 1e-4}, run / f"checkpoint-{step}" / "training_args.bin")
    state = {"best_model_checkpoint": "run/checkpoint-500", "best_metric": 0.5, "global_step": 1000}
    (run / "checkpoint-1000" / "trainer_state.json").write_text(json.dumps(state))
    for folder, name, model in ((run, "run", better), (run / "checkpoint-1000", "checkpoint-1000", newer)):
        config, _ = load_transformers_folder(folder)
        assert config.name == name
        assert config.resizing == Resizing("inside", (64, 64), (64, 64))
        assert_same_answers(model, folder, 64, 64)
    newer.save_pretrained(run)
    assert_same_answers(newer, run)


def test_a_folder_without_weights_or_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"config\.json"):
        load_transformers_folder(tmp_path)
    make_model("detr", "own-basic").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CorruptCheckpoint, match="no weights"):
        load_transformers_folder(tmp_path)


def test_a_shard_outside_the_folder_is_refused(tmp_path: Path) -> None:
    make_model("detr", "own-basic").save_pretrained(tmp_path, max_shard_size="50KB")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "../elsewhere.safetensors"}}))
    with pytest.raises(CorruptCheckpoint, match="no file of this folder"):
        load_transformers_folder(tmp_path)


def test_a_shard_that_lost_weights_is_refused(tmp_path: Path) -> None:
    make_model("detr", "own-basic").save_pretrained(tmp_path, max_shard_size="50KB")
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    places["weight_map"]["model.gone"] = next(iter(places["weight_map"].values()))
    index.write_text(json.dumps(places))
    with pytest.raises(CorruptCheckpoint, match=r"model\.gone"):
        load_transformers_folder(tmp_path)


def test_a_head_of_another_size_than_the_labels_does_not_load(tmp_path: Path) -> None:
    make_model("detr", "own-basic").save_pretrained(tmp_path)
    edit(tmp_path, id2label={"0": "table"})
    with pytest.raises(MismatchedWeights, match=r"config\.json: the weights have 5 classes.*ids up to 0"):
        load_transformers_folder(tmp_path)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, touch: Callable[[Path], object]) -> None:
    make_model("detr", "own-basic").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": touch(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UnsafeCheckpoint):
        load_transformers_folder(tmp_path)
    assert not (tmp_path / "ran").exists()


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
