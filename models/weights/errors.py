"""Errors of loading weights, with messages for the user."""

from __future__ import annotations


class WeightsError(RuntimeError):
    """The weights of a model cannot be loaded. The message is written for the user."""


class UnknownModel(WeightsError):
    """No model has this name, and no file or folder this path."""


class DownloadFailed(WeightsError):
    """The server answered with an error, or the file could not be written."""


class AccessDenied(DownloadFailed):
    """The server does not give this model to this caller: it wants a token, or another one."""


class Offline(DownloadFailed):
    """The server could not be reached at all."""


class TruncatedDownload(DownloadFailed):
    """The connection ended early, more than once. Of a published model, what arrived is kept: the next one resumes."""


class TamperedDownload(DownloadFailed):
    """The whole file arrived, but its digest is not the one that it should have. Nothing is kept."""


class NoDiskSpace(DownloadFailed):
    """The cache folder's disk is too full. Of a published model, what arrived is kept: the next download resumes."""


class CorruptCheckpoint(WeightsError):
    """A file that is damaged, empty, or no checkpoint."""


class UnsafeCheckpoint(WeightsError):
    """A pickle that asks for more than tensors: loading it could run its author's code."""


class MismatchedWeights(WeightsError):
    """Weights whose names or shapes are not the model's."""


class UnsupportedModel(WeightsError):
    """A model that needs something which this DETR does not have."""
