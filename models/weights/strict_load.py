"""Loading of all of a model's weights, and of no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from models.weights.errors import MismatchedWeights

SHOWN = 5


def load_strict(detr: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the weights into the model, before its batch norms are folded.

    Counters of batch norm do not matter and are ignored on both sides. Raises MismatchedWeights, with
    nothing copied, that lists what is missing, unexpected or of another shape.
    """
    expected = _without_counters(detr.state_dict())
    given = _without_counters(state)
    misshapen = [
        f"{key} {list(given[key].shape)} instead of {list(expected[key].shape)}"
        for key in expected
        if key in given and given[key].shape != expected[key].shape
    ]
    check_fit((key for key in expected if key not in given), (key for key in given if key not in expected), misshapen)
    detr.load_state_dict(given, strict=False)  # the counters are all that is missing


def check_fit(missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str]) -> None:
    """Raise MismatchedWeights, listing them, where weights are missing, unexpected or of another shape."""
    complaints = [
        _shortened("missing", missing),
        _shortened("unexpected", unexpected),
        _shortened("of another shape", misshapen),
    ]
    if any(complaints):
        raise MismatchedWeights("the weights do not fit the model: " + "; ".join(filter(None, complaints)))


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _shortened(what: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{len(keys)} {what} ({', '.join(keys[:SHOWN])}{more})" if keys else ""
