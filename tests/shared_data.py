"""Real files that others wrote, read in place: they lie beside the checkout and never in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MUSIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "music"
CLAUDE_CODE = MUSIC.parent / "claude-code"
CLAUDE_STREAM = MUSIC.parent / "claude-stream"
AIT42 = MUSIC.parent / "ait42"
FACTS = MUSIC.parent / "facts.json"
"""Counts of each transcript, made by a program that has nothing to do with this one."""

needs_shared_data = pytest.mark.skipif(
    not MUSIC.is_dir() and "VIBEWEAVER_TEST_ALL" not in os.environ,  # in continuous integration nothing is skipped
    reason=f"no shared data: {MUSIC} is not there",
)
