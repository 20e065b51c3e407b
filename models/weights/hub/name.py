"""What a model of the Hugging Face hub is called: org/name, or org/name@revision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from models.weights.checkpoint_files import SUFFIXES

DEFAULT_REVISION: Final = "main"
PART: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
NAME: Final = re.compile(rf"(?P<repository>{PART}/{PART})(?:@(?P<revision>[A-Za-z0-9_][A-Za-z0-9_./+-]*))?")
COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository and one of its branches, tags or commits."""

    repository: str
    revision: str = DEFAULT_REVISION

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a name; None for what can only be a path: `./a/b`, `/a/b`, `a/b/c`, `a/b.safetensors`."""
        match = NAME.fullmatch(text)
        if match is None or match["repository"].endswith((*SUFFIXES, ".git")) or re.search(r"--|\.\.", text):
            return None
        return cls(match["repository"], match["revision"] or DEFAULT_REVISION)

    def __str__(self) -> str:
        """The name that `parse` reads."""
        return self.repository if self.revision == DEFAULT_REVISION else f"{self.repository}@{self.revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit in full, whose files never change."""
        return COMMIT.fullmatch(self.revision) is not None
