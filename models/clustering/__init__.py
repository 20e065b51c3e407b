"""Grouping of attention queries: pure functions, seeded."""
