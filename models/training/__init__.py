"""Training: losses, matching, rendered pages, the loop."""
