"""Encoder attention as interchangeable strategies over the same parameters."""
