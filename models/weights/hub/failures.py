"""What can go wrong between here and the hub, as errors of this package."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, TypeVar

from models.weights.download import TRANSIENT_STATUSES
from models.weights.errors import (
    AccessDenied,
    DownloadFailed,
    NoDiskSpace,
    Offline,
    TruncatedDownload,
    UnknownModel,
    WeightsError,
)
from models.weights.hub.name import HubModel

Result = TypeVar("Result")

TOKEN: Final = "set HF_TOKEN to a token that may read it"  # noqa: S105  (a sentence)


def asked(model: HubModel, question: Callable[[], Result], retry_delays: Sequence[float] = ()) -> Result:
    """Return what the hub answers. After an error that may pass it is asked again, with these seconds in between.

    Raises UnknownModel, AccessDenied, Offline, TruncatedDownload, NoDiskSpace or DownloadFailed.
    """
    for delay in (*retry_delays, None):
        try:
            return question()
        except (OSError, ValueError, TypeError, LookupError, RuntimeError, _http().HTTPError) as error:
            # Whatever huggingface_hub makes of an answer that no hub would give is among them.
            if isinstance(error, WeightsError):
                raise
            if delay is None or not _may_pass(error):
                raise _translated(error, model) from error
            time.sleep(delay)
    raise AssertionError("the last delay is None")


def _http() -> Any:
    """The HTTP library of huggingface_hub: httpx in version 1, httpx2 in version 2, with errors of the same names."""
    from huggingface_hub.errors import HfHubHTTPError

    return import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])


def _may_pass(error: Exception) -> bool:
    http, status = _http(), _status(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
    return isinstance(error, http.TransportError) and not isinstance(error, http.UnsupportedProtocol)


def _status(error: BaseException) -> int | None:
    """The status that the hub answered with; None where it did not answer."""
    from huggingface_hub.errors import HfHubHTTPError

    return int(error.response.status_code) if isinstance(error, HfHubHTTPError) else None


def _translated(error: BaseException, model: HubModel) -> WeightsError:
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return _translated(error.__cause__, model)  # it only says that there is nothing in the cache either
    if isinstance(error, OfflineModeIsEnabled):
        return Offline(f"{model} is not in the cache, and HF_HUB_OFFLINE is set")
    if (status := _status(error)) is not None:
        return _refusal(error, status, model)
    http = _http()
    if isinstance(error, http.ConnectError | http.ConnectTimeout | http.ProxyError):
        return Offline(f"{ENDPOINT} cannot be reached for {model} ({error}); go online, or download it beforehand")
    if isinstance(error, http.TransportError) and not isinstance(error, http.UnsupportedProtocol):
        return TruncatedDownload(f"the download of {model} from {ENDPOINT} was cut off ({_text(error)}); try again")
    if isinstance(error, OSError) and error.errno is not None:
        return _disk_error(error, model)
    return DownloadFailed(f"{model} cannot be downloaded from {ENDPOINT} ({_text(error)})")


def _refusal(error: BaseException, status: int, model: HubModel) -> WeightsError:
    """What an answer with an error status means."""
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, RevisionNotFoundError):
        return UnknownModel(f"{model.repository} at {ENDPOINT} has no revision {model.revision!r}")
    if isinstance(error, GatedRepoError):
        return AccessDenied(
            f"{model.repository} at {ENDPOINT} is gated: accept its terms on its page there, then {TOKEN}"
        )
    if isinstance(error, RepositoryNotFoundError) or (status == 404 and not isinstance(error, EntryNotFoundError)):
        return UnknownModel(
            f"{ENDPOINT} has no model {model.repository}, and no file or folder here has this name; if it is private, "
            f"{TOKEN}"
        )
    if status in (401, 403):
        return AccessDenied(f"{ENDPOINT} refuses {model} with status {status}: {TOKEN}")
    return DownloadFailed(f"{ENDPOINT} answered {status} for {model}; try later")


def _disk_error(error: OSError, model: HubModel) -> DownloadFailed:
    from huggingface_hub.constants import HF_HUB_CACHE

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoDiskSpace(f"no space is left for {model} in the hub's cache {HF_HUB_CACHE} ({error.strerror})")
    return DownloadFailed(f"{model} cannot be kept in the hub's cache {HF_HUB_CACHE} ({error})")


def _text(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return lines[0] or type(error).__name__
