"""Grouping of attention queries: pure functions, seeded, aware of padding."""
