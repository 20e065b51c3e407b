"""Measuring: how long a call takes, and the environment it was measured in."""
