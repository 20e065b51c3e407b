"""Labelled images as batches to train on."""
