"""The published DETR checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

PUBLISHED_AT: Final = "https://dl.fbaipublicfiles.com/detr"


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """A file whose name ends with the first hex digits of its own sha256, as in `detr-r50-e632da11.pth`.

    `megabytes` is the size to announce. Raises ValueError for a name without at least 8 digits.
    """

    name: str
    file: str
    megabytes: int

    def __post_init__(self) -> None:
        if re.search(r"-[0-9a-f]{8,64}\.\w+$", self.file) is None:
            raise ValueError(f"{self.file} does not end with digits of its sha256")

    @property
    def sha256_prefix(self) -> str:
        """The hex digits, 8 to 64, with which the file's sha256 begins."""
        return self.file.rpartition("-")[2].partition(".")[0]

    def url(self, base_url: str | None = None) -> str:
        """Where the file is; `base_url` names a mirror's folder."""
        return f"{(base_url or PUBLISHED_AT).rstrip('/')}/{self.file}"


PUBLISHED: Final[Mapping[str, PublishedCheckpoint]] = MappingProxyType(
    {
        checkpoint.name: checkpoint
        for checkpoint in (
            PublishedCheckpoint("detr-r50", "detr-r50-e632da11.pth", 159),
            PublishedCheckpoint("detr-r50-dc5", "detr-r50-dc5-f0fb7ef5.pth", 159),
            PublishedCheckpoint("detr-r101", "detr-r101-2c7b67e5.pth", 232),
            PublishedCheckpoint("detr-r101-dc5", "detr-r101-dc5-a2e86def.pth", 232),
        )
    }
)
