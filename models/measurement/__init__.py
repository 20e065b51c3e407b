"""Measurement: the time that calls take, and the environment that they ran in."""
