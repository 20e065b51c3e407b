"""How well a detector detects."""
