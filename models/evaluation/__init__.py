"""Evaluation: precision, cost, speed and fidelity of a detector with different attention settings."""
