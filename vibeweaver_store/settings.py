"""What can be set from outside: every field is read from the environment as ``VIBEWEAVER_<FIELD>``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vibeweaver_store.errors import InvalidInput
from vibeweaver_store.validation import explain


class Settings(BaseSettings):
    """Where the database is and how it is opened. Times are in seconds, sizes in bytes unless said otherwise."""

    model_config = SettingsConfigDict(env_prefix="VIBEWEAVER_", frozen=True, extra="ignore")

    database: str | None = Field(default=None, description="A path or a database URL; the per-user file when unset.")
    busy_timeout_seconds: float = Field(
        default=10.0, ge=0, le=3600, description="How long a call waits for other writers before StoreBusy."
    )
    pool_size: int = Field(default=8, ge=1, le=1000, description="Connections kept open for readers.")
    retries: int = Field(default=5, ge=0, le=100, description="How often run and query repeat a transient failure.")

    # SQLite's PRAGMAs, by their own names (https://www.sqlite.org/pragma.html).
    journal_mode: Literal["WAL", "DELETE", "TRUNCATE"] = "WAL"
    force_wal: bool = Field(default=False, description="Allow WAL on a network file system; the data may be lost.")
    synchronous: Literal["OFF", "NORMAL", "FULL", "EXTRA"] = "NORMAL"
    cache_size: int = Field(default=-20_000, description="Page cache: pages, or KiB when negative.")
    mmap_size: int = Field(default=268_435_456, ge=0, description="Bytes of the file that are memory-mapped.")
    temp_store: Literal["DEFAULT", "FILE", "MEMORY"] = "MEMORY"


def load() -> Settings:
    """Return the settings of the environment.

    Raises:
        InvalidInput: a ``VIBEWEAVER_*`` variable has no usable value.
    """
    said = [(name, value) for name, value in os.environ.items() if name.upper().startswith("VIBEWEAVER_")]
    return _read(frozenset(said))


@lru_cache(maxsize=16)
def _read(_said: frozenset[tuple[str, str]]) -> Settings:
    """Return the settings of an environment that says so: reading them takes as long as opening a database."""
    try:
        return Settings()
    except ValidationError as error:
        refused = explain(error)
        raise InvalidInput(f"VIBEWEAVER_{str(refused.field).upper()}: {refused.message}") from error


def default_path() -> Path:
    """Return the per-user database file, where nothing else is said."""
    return platformdirs.user_data_path("vibeweaver-store", appauthor=False) / "store.db"
