"""Benchmarks: each prints a table and writes JSON that says how to repeat it."""
