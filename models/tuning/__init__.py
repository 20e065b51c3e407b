"""Choosing ACT's L and r for a model and its images."""
