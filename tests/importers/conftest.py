"""Fixtures of the importers: where transcripts lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importers.transcript_files import SESSION


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where Claude Code keeps the transcripts of a project."""
    return tmp_path / "projects" / "-srv-project"


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / f"{SESSION}.jsonl"
