"""Metrics, logs and request records."""
