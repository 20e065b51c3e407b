"""Errors of exporting a model, with messages for the user."""

from __future__ import annotations

from models.weights.errors import WeightsError


class ExportError(WeightsError):
    """A model cannot be exported. The message is written for the user."""


class CannotExport(ExportError):
    """The format has no part for something that this model has, or does not fit what was asked for."""


class ExportDiffers(ExportError):
    """The exported model computes something else than ours. Nothing was written."""


class MissingPackage(ExportError):
    """The format needs a package that is not installed."""
