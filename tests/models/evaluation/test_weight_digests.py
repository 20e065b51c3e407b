import hashlib
from importlib import resources

from models.evaluation.weight_digests import weight_digests


def test_the_embedded_model():
    file = resources.files("models").joinpath("pretrained", "pages-small.safetensors")
    assert weight_digests("pages-small") == {"pages-small.safetensors": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_files_and_folders(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    expected = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    assert weight_digests(str(weights)) == expected
    assert weight_digests(str(tmp_path)) == expected


def test_a_published_model_that_was_never_downloaded(tmp_path):
    assert weight_digests("detr-r50", tmp_path) == {}
