"""A small detector, the shortest plan, and a way to read a figure."""

from collections.abc import Callable

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from models.detector import Detector
from models.reproduction.claim import Plan


@pytest.fixture
def detector(tiny_detr) -> Detector:
    return Detector(tiny_detr)


@pytest.fixture
def plan() -> Plan:
    return Plan(pages=2).quickly()


@pytest.fixture
def measured(detector, plan) -> Callable:
    """Return a function that measures a claim and returns its JSON, as far as tables and figures need it."""

    def measure(claim, detector=detector, plan=plan):
        return {
            "claim": claim.name,
            "model": {"name": detector.name},
            "settings": claim.settings(detector, plan),
            "results": claim.measure(detector, plan, lambda done, total: None),
            "environment": {"device": "a processor"},
        }

    return measure


@pytest.fixture(scope="session")
def texts() -> Callable[[Figure], set[str]]:
    """Return a function that returns all that is written in a figure."""
    return lambda figure: {text.get_text() for text in figure.findobj(Text)}
