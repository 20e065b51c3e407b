"""The study of the paper: its claims and the project's own, measured on a model. Not part of what is installed."""
