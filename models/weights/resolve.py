"""Configuration and weights of a model given by name, file, folder or repository of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from torch import Tensor

from models.config import DetrConfig
from models.detr.mask_head import MaskHead
from models.named_models import EMBEDDED, named_config
from models.weights.cache import cached_path
from models.weights.checkpoint_files import SUFFIXES, load_state_dict, read_config
from models.weights.download import Progress, download
from models.weights.errors import CorruptCheckpoint, UnknownModel
from models.weights.foreign_model import ForeignModel, check_served
from models.weights.hub import HubModel, fetch_snapshot
from models.weights.inferred_config import config_from_state_dict
from models.weights.key_map import published_names
from models.weights.mask_weights import mask_head_of
from models.weights.published import PUBLISHED
from models.weights.trainer_output import WEIGHTS
from models.weights.transformers_folder import load_segmenting_folder
from models.weights.wrappers import without_wrappers


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """`state_dict` has the published names, float32 on the CPU; `source` says where it came from.

    `commit` is that of a model of the Hugging Face hub. `mask_head` is that of a model for segmentation, which is no
    part of the `state_dict`.
    """

    config: DetrConfig
    state_dict: dict[str, Tensor]
    source: str
    commit: str | None = None
    mask_head: MaskHead | None = None


def resolve(model: str, cache_dir: Path | None = None, progress: Progress | None = None) -> LoadedWeights:
    """Load the model of a name, a file, a folder or a repository of the Hugging Face hub, in this order.

    `./detr-r50` is a path, and so is `org/name` where that exists; else it is a repository, `org/name@revision` at a
    branch, tag or commit. A published name is downloaded into `cache_dir` unless it is in there, a repository into the
    hub's own cache; `progress` is called with the bytes so far and in all. Raises UnknownModel with what is accepted,
    ForeignModel where only transformers can run it, or another WeightsError.
    """
    if model in EMBEDDED:
        with embedded_path(model) as path:
            return load_file(path)
    if model in PUBLISHED:
        path = cached_path(model, cache_dir) or download(model, cache_dir, progress)
        return LoadedWeights(named_config(model), load_state_dict(path), str(path))
    path = Path(model).expanduser()
    if model and path.is_dir():
        return _load_folder(path, str(path))
    if path.is_file() and path.suffix in SUFFIXES:
        return load_file(path)
    if not path.exists() and (named := HubModel.parse(model)) is not None:
        return _load_repository(named, progress)
    fault = "exists, but is none of these" if path.exists() else "does not exist"
    raise UnknownModel(
        f"{model!r} {fault}: a model is a name ({', '.join((*EMBEDDED, *PUBLISHED))}), a path to a file "
        f"({', '.join(SUFFIXES)}), a path to a folder that transformers saved for a DETR, or a repository of the "
        "Hugging Face hub (org/name or org/name@revision)"
    )


def fetch(model: str, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """Download a published model or a repository of the hub, unless it is there, and return the file or the folder.

    `cache_dir` and `progress` as for `resolve`. Raises UnknownModel, or another WeightsError.
    """
    named = None if model in PUBLISHED else HubModel.parse(model)
    if named is None:
        return download(model, cache_dir, progress)
    return fetch_snapshot(named, check_served, progress)


def _load_repository(model: HubModel, progress: Progress | None) -> LoadedWeights:
    """Load a snapshot as the folder that it is, under the repository's name."""
    folder = fetch_snapshot(model, check_served, progress)
    try:
        loaded = _load_folder(folder, f"{model.repository}@{folder.name}")
    except ForeignModel as foreign:
        raise foreign.named(model.repository, folder.name) from foreign.__cause__
    return replace(loaded, config=replace(loaded.config, name=model.repository), commit=folder.name)


def load_file(path: Path) -> LoadedWeights:
    """Load a checkpoint file with its own configuration, or with the one inferred from its weights.

    A file that transformers saved is loaded with the configuration beside it.
    """
    config = read_config(path)
    if config is None and path.name in WEIGHTS and (path.parent / "config.json").is_file():
        return _load_folder(path.parent, str(path))
    weights = load_state_dict(path)
    state = published_names(without_wrappers(weights, path))
    config = config or config_from_state_dict(state, path.stem)
    return LoadedWeights(config, state, str(path), mask_head=mask_head_of(weights, config))


def _load_folder(folder: Path, source: str) -> LoadedWeights:
    config, state, mask_head = load_segmenting_folder(folder)
    return LoadedWeights(config, state, source, mask_head=mask_head)


@contextmanager
def embedded_path(name: str) -> Iterator[Path]:
    """The checkpoint of a model that is part of the package. Raises CorruptCheckpoint where it is not there."""
    file = resources.files("models").joinpath("pretrained", f"{name}.safetensors")
    if not file.is_file():
        raise CorruptCheckpoint(f"this installation lacks its own {name}.safetensors; install it again")
    with resources.as_file(file) as path:
        yield path
