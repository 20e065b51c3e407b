"""Errors of plugging attention into models of other libraries, with messages for the user."""

from __future__ import annotations


class PlugError(RuntimeError):
    """Clustered attention cannot be used here. The message is written for the user."""


class CannotPlug(PlugError):
    """The model has no encoder self-attention that could be clustered."""


class CannotCluster(PlugError):
    """A plugged module was called in a way that clustered attention does not compute: a bias, a mask, dropout."""


class RecomputedElsewhere(PlugError):
    """Gradient checkpointing recomputes a layer with other settings than those of its forward pass."""
