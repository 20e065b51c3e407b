"""Two services in turns, so that what else the machine does meets both alike, and the ratio of what they give."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from deploy.loadtest.load import Mix
from deploy.local_server import SAMPLE_PAGE

Service = TypeVar("Service")
Turn = TypeVar("Turn")


@dataclass(frozen=True, slots=True)
class Ratio:
    """The `ratio` of the second service's figure over the first one's: the median of the rounds' own ratios.

    Its `least` and `greatest` say how much the machine varied. All are rounded to three digits.
    """

    ratio: float
    least: float
    greatest: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]]) -> Self:
        """Take the figures of (the first, the second) service in each round, at least one."""
        ratios = [second / first for first, second in rounds]
        return cls(*(round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))))


def in_turns(
    services: tuple[Service, Service], turn: Callable[[Service], Turn], rounds: int
) -> list[tuple[Turn, Turn]]:
    """Give each service a turn in every round, the first one first in every second; return (first, second) by round."""
    return [_round(services, turn, swapped=number % 2 == 1) for number in range(rounds)]


def _round(services: tuple[Service, Service], turn: Callable[[Service], Turn], *, swapped: bool) -> tuple[Turn, Turn]:
    if swapped:
        second = turn(services[1])
        return turn(services[0]), second
    return turn(services[0]), turn(services[1])


def options(description: str | None, *, query: str, seconds: float, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options of programs that call two services in turns, and their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, action="append", help="an image to send instead of the sample page")
    parser.add_argument("--query", default=query, help="the query of every call")
    parser.add_argument("--seconds", type=float, default=seconds, help="length of one service's turn")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    return parser


def mix_of(arguments: argparse.Namespace) -> Mix:
    """Return the calls that the options ask for."""
    return Mix(tuple(file.read_bytes() for file in arguments.image or [SAMPLE_PAGE]), (arguments.query,))
