"""The paper's claims and the project's own, measured: `python -m models.reproduction`."""
