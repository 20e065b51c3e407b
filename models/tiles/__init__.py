"""Tiles of a long or huge image: how it is cut, and how what was found in them is put together."""
