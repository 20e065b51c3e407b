import pytest

from models.weights.errors import MismatchedWeights
from models.weights.wrappers import without_wrappers

PUBLISHED = {"query_embed.weight": 1, "transformer.encoder.norm.weight": 2}
TRANSFORMERS = {"model.query_position_embeddings.weight": 1, "class_labels_classifier.bias": 2}


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "module.model.", "_orig_mod.", "net.detr."])
@pytest.mark.parametrize("state", [PUBLISHED, TRANSFORMERS])
def test_a_prefix_of_every_name_is_removed(state: dict[str, int], prefix: str) -> None:
    assert without_wrappers({prefix + key: value for key, value in state.items()}, "file") == state


def test_weights_beside_the_model_are_removed() -> None:
    state = {"model." + key: value for key, value in TRANSFORMERS.items()}
    assert without_wrappers(state | {"criterion.empty_weight": 5, "metric.total": 6}, "file") == TRANSFORMERS


def test_names_of_something_else_stay() -> None:
    assert without_wrappers({"model.a": 1, "module.b": 2}, "file") == {"model.a": 1, "module.b": 2}


def test_several_models_are_refused_by_name() -> None:
    state = {prefix + key: value for prefix in ("model.", "ema.module.") for key, value in PUBLISHED.items()}
    with pytest.raises(MismatchedWeights, match=r"file holds several models.*'ema\.module\.', 'model\.'"):
        without_wrappers(state, "file")
