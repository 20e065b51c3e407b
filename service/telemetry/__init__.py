"""Metrics, logs, traces and request records."""
