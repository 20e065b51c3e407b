"""Snapshots of the Hugging Face hub: the files of one commit, downloaded into the hub's own cache and checked."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.weights.download import RETRY_DELAYS, Progress
from models.weights.errors import (
    CorruptCheckpoint,
    DownloadFailed,
    Offline,
    TamperedDownload,
    UnsupportedModel,
    WeightsError,
)
from models.weights.hub.failures import asked
from models.weights.hub.files import (
    CONFIG,
    IMAGE_PROCESSORS,
    INDEX,
    HubFile,
    discard,
    drop_damaged,
    is_intact,
    weights_file,
    weights_files,
)
from models.weights.hub.kept import kept_folder, knows_its_images
from models.weights.hub.meter import Meter
from models.weights.hub.name import HubModel
from models.weights.trainer_output import WEIGHTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit, by name."""

    commit: str
    files: Mapping[str, HubFile]


def fetch_snapshot(
    model: HubModel,
    accept: Callable[[Path], object],
    progress: Progress | None = None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Path:
    """Return the folder of a model's files at one commit, after which the folder is named.

    Only config.json, the image processor's settings and the weights are downloaded, the weights as safetensors where
    there are any. `accept` is called with the folder before the weights are, to raise for a model that cannot be
    loaded. `progress` is called with the bytes of the weights so far and in all. Cache, token, mirror and offline mode
    are huggingface_hub's, by its environment variables. Every file is checked against the hub's account of it at every
    call. Where the hub cannot be asked, what it gave before is returned, and a warning says so.

    Raises UnknownModel, AccessDenied, UnsupportedModel, Offline, TruncatedDownload, TamperedDownload, NoDiskSpace,
    DownloadFailed, CorruptCheckpoint, or what `accept` raises.
    """
    _join_log()
    kept = kept_folder(model)
    if kept is not None and (_is_offline() or (model.is_pinned and knows_its_images(kept))) and is_intact(kept):
        return _told(model, kept)
    if _is_offline():
        raise Offline(f"{model} is not in the hub's cache, and HF_HUB_OFFLINE is set; download it beforehand")
    try:
        listing = _listing(model, () if kept else retry_delays)
    except WeightsError as error:
        if kept is None or not is_intact(kept):
            raise
        log.warning("%s; what was downloaded before is taken", error)
        return _told(model, kept)
    folder = _complete(model, listing, accept, progress, retry_delays)
    _note_revision(model, listing.commit)
    return _told(model, folder)


def _listing(model: HubModel, retry_delays: Sequence[float]) -> Listing:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT, HF_HUB_ETAG_TIMEOUT

    info = asked(
        model,
        lambda: HfApi(library_name="act-detr").model_info(
            model.repository, revision=model.revision, files_metadata=True, timeout=HF_HUB_ETAG_TIMEOUT
        ),
        retry_delays,
    )
    if info.sha is None:
        raise DownloadFailed(f"{ENDPOINT} does not say which commit {model} is: it is no Hugging Face hub")
    return Listing(info.sha, {one.rfilename: _described(one) for one in info.siblings or ()})


def _described(sibling: Any) -> HubFile:
    """Of a large file git knows only a pointer, so its `blob_id` says nothing of the content."""
    if sibling.lfs is not None:
        return HubFile(sibling.rfilename, sibling.lfs.size, sha256=sibling.lfs.sha256)
    return HubFile(sibling.rfilename, sibling.size, git_sha1=sibling.blob_id)


def _complete(
    model: HubModel,
    listing: Listing,
    accept: Callable[[Path], object],
    progress: Progress | None,
    retry_delays: Sequence[float],
) -> Path:
    """Download what of the snapshot is not in the cache, the weights last."""
    first = weights_file(listing.files)
    if CONFIG not in listing.files or first is None:
        lacking = "no config.json" if CONFIG not in listing.files else f"no weights: neither {' nor '.join(WEIGHTS)}"
        raise UnsupportedModel(f"{model} has {lacking}; it has {', '.join(sorted(listing.files)) or 'no files'}")
    small = [CONFIG, *(name for name in IMAGE_PROCESSORS if name in listing.files)]
    if first.endswith(INDEX):
        small.append(first)
    folder = _fetched(model, listing, small, None, retry_delays)
    accept(folder)
    weights = weights_files(folder, first)
    if lost := [name for name in weights if name not in listing.files]:
        raise CorruptCheckpoint(f"{model}: {first} names {lost[0]}, which is not there")
    return _fetched(model, listing, weights, progress, retry_delays)


def _fetched(
    model: HubModel, listing: Listing, names: Iterable[str], progress: Progress | None, retry_delays: Sequence[float]
) -> Path:
    """Return the snapshot's folder when all these files are in it."""
    from huggingface_hub import try_to_load_from_cache

    files = [listing.files[name] for name in names]
    found = {file: try_to_load_from_cache(model.repository, file.name, revision=listing.commit) for file in files}
    kept = {file: Path(path) for file, path in found.items() if isinstance(path, str)}
    damaged = drop_damaged(kept.items())
    missing = [file for file in files if file not in kept or file in damaged]
    if not missing:
        return kept[files[0]].parent
    meter = Meter(progress, _announced(model, listing, missing))
    for file in missing:
        path = _download(model, listing.commit, file, meter, retry_delays)
        meter.finish(path.stat().st_size)
    return path.parent


def _announced(model: HubModel, listing: Listing, missing: Sequence[HubFile]) -> int | None:
    """Return the bytes to download, None if the hub does not say, having logged them. Raises NoDiskSpace."""
    sizes = [file.size for file in missing if file.size is not None]
    total = sum(sizes)
    names = ", ".join(file.name for file in missing)
    log.info("downloading %s at commit %s: %s, %.1f MB", model, listing.commit, names, total / 1e6)
    asked(model, lambda: _check_space(total))
    return total if len(sizes) == len(missing) else None


def _check_space(size: int) -> None:
    """Fail before writing rather than after filling the disk."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB are needed")


def _download(model: HubModel, commit: str, file: HubFile, meter: Meter, retry_delays: Sequence[float]) -> Path:
    """Download one file and check it. Raises TamperedDownload, having deleted it, where it is not what it should be."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import ENDPOINT

    download = asked(
        model,
        lambda: hf_hub_download(
            model.repository, file.name, revision=commit, library_name="act-detr", tqdm_class=meter.bar()
        ),
        retry_delays,
    )
    path = Path(download)
    fault = file.fault(path)
    if path.parent.name != commit:
        fault = f"it is of commit {path.parent.name} instead of {commit}"
    if fault is not None:
        discard(path)
        raise TamperedDownload(f"{file.name} of {model} from {ENDPOINT} is not the file: {fault}; it was not kept")
    return path


def _note_revision(model: HubModel, commit: str) -> None:
    """Have the cache know at which commit a branch or tag is, for a start without a connection."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    known = try_to_load_from_cache(model.repository, CONFIG, revision=model.revision)
    if isinstance(known, str) and Path(known).parent.name == commit:
        return
    try:
        asked(model, lambda: hf_hub_download(model.repository, CONFIG, revision=model.revision))
    except WeightsError as error:
        log.warning("%s; offline, %s is found as %s@%s only", error, model, model.repository, commit)


def _told(model: HubModel, folder: Path) -> Path:
    log.info("%s is at commit %s", model, folder.name)
    return folder


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _join_log() -> None:
    """Have huggingface_hub log where the program does, if that has a log, instead of writing lines of its own."""
    import huggingface_hub  # noqa: F401  (adds its handler)

    if logging.getLogger().handlers:
        logging.getLogger("huggingface_hub").handlers.clear()
