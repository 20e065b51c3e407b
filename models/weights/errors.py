"""Errors of loading weights, with messages for the user."""

from __future__ import annotations


class WeightsError(RuntimeError):
    """The weights of a model cannot be loaded. The message is written for the user."""


class UnknownModel(WeightsError):
    """No model has this name, and no file or folder this path."""


class DownloadFailed(WeightsError):
    """The server answered with an error, or the file could not be written."""


class Offline(DownloadFailed):
    """The server could not be reached at all."""


class TruncatedDownload(DownloadFailed):
    """The connection ended early, more than once. What arrived is kept; the next download resumes."""


class TamperedDownload(DownloadFailed):
    """The whole file arrived, but its sha256 is not the one in its name. Nothing is kept."""


class NoDiskSpace(DownloadFailed):
    """The cache folder's disk is too full. What arrived is kept; the next download resumes."""


class CorruptCheckpoint(WeightsError):
    """A file that is damaged, empty, or no checkpoint."""


class UnsafeCheckpoint(WeightsError):
    """A pickle that asks for more than tensors: loading it could run its author's code."""


class MismatchedWeights(WeightsError):
    """Weights whose names or shapes are not the model's."""


class UnsupportedModel(WeightsError):
    """A model that needs something which this DETR does not have."""
