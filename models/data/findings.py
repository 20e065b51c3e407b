"""Findings of reading a data set: problems that refuse it, all at once, and notices of what was assumed or left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAX_PROBLEMS: Final = 20
"""Problems that an error names one by one; the rest is counted."""
MAX_EXAMPLES: Final = 3
MAX_NAMES: Final = 8
LONGEST_VALUE: Final = 60


class DataError(ValueError):
    """A data set that cannot be used as it is; the message has a line per problem, `problems` has all of them."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(_message(source, problems))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be read without guessing: where in the file, in which field, and why."""

    where: str
    field: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.where, f"{self.field} {self.reason}".strip())))


@dataclass(frozen=True, slots=True)
class Notice:
    """What was left out or assumed, how often, and where for example."""

    what: str
    count: int
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        where = f" ({', '.join(self.examples)}{more})" if self.examples else ""
        return f"{self.what}: {self.count}{where}"


@dataclass(frozen=True, slots=True)
class Notices:
    """All notices of one data set; `source` is the file that they are about."""

    source: str = ""
    rows: tuple[Notice, ...] = ()

    def lines(self) -> list[str]:
        """A line per notice, for people."""
        return [f"{self.source}: {row}" for row in self.rows]

    def as_json(self) -> list[dict[str, Any]]:
        """An object per notice."""
        return [{"what": row.what, "count": row.count, "examples": list(row.examples)} for row in self.rows]

    def counted(self, what: str) -> int:
        """How often something was noticed; 0 where it was not."""
        return sum(row.count for row in self.rows if row.what == what)

    def also(self, what: str, count: int, examples: tuple[str, ...] = ()) -> Notices:
        """The same and one more, where its count is not 0."""
        return Notices(self.source, (*self.rows, Notice(what, count, examples))) if count else self


@dataclass(slots=True)
class Findings:
    """Collects while `source` is read."""

    source: str
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def problem(self, where: str, name: str, reason: str) -> None:
        """Note a problem that refuses the data set."""
        self.problems.append(Problem(where, name, reason))

    def notice(self, what: str, where: str) -> None:
        """Count what was left out or assumed."""
        self.counts[what] += 1
        examples = self.examples.setdefault(what, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(where)

    def error(self) -> DataError:
        """The error that refuses the data set."""
        return DataError(self.source, tuple(self.problems))

    def refuse(self) -> None:
        """Raise DataError if there was any problem."""
        if self.problems:
            raise self.error()

    def notices(self) -> Notices:
        """All that was counted, in the order of its first time."""
        return Notices(
            self.source, tuple(Notice(what, count, tuple(self.examples[what])) for what, count in self.counts.items())
        )


def shown(value: object) -> str:
    """A value of a file as a message shows it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _message(source: str, problems: tuple[Problem, ...]) -> str:
    if len(problems) == 1:
        return f"{source}: {problems[0]}"
    lines = [f"{source}: {len(problems)} problems", *map(str, problems[:MAX_PROBLEMS])]
    rest = Counter(problem.field or problem.reason for problem in problems[MAX_PROBLEMS:])
    if rest:
        counts = ", ".join(f"{count} of {name}" for name, count in rest.most_common())
        lines.append(f"and {rest.total()} more: {counts}")
    return "\n  ".join(lines)


def few(names: Sequence[str]) -> str:
    """The first names, and the number of others: a line of eighty classes is unreadable."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
