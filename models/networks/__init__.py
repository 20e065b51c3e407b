"""The networks that a detector can run: our own DETR, and those that transformers runs, behind one face."""
