"""Tuning: the choice of attention settings for a model and its images."""
