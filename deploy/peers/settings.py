"""What every peer is told, through the environment: some of them start their workers from a command of their own."""

from __future__ import annotations

from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.cores import available_cores
from service.settings import Settings

PREFIX: Final = "PEER_"


class PeerSettings(BaseSettings):
    """The settings of one peer; limits are the service's own defaults unless given."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    port: int = Field(8001, ge=1024, le=65535, description="TCP port on 127.0.0.1.")
    threads: int = Field(available_cores(), ge=1, description="CPU threads of all workers together.")
    workers: int = Field(1, ge=1, description="Images that are detected at a time, each by its part of the threads.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds after which a peer that can drops a request.")
    max_inflight: int = Field(
        Settings.model_fields["max_inflight"].default, ge=1, description="Requests that a peer takes at a time."
    )

    @property
    def threads_each(self) -> int:
        """CPU threads of one worker."""
        return max(1, self.threads // self.workers)

    def environment(self) -> dict[str, str]:
        """Return the variables from which another process reads the same settings."""
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in self.model_dump().items()}
