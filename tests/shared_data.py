"""Real files that others wrote, read in place: they lie beside the checkout and never in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MUSIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "music"

needs_shared_data = pytest.mark.skipif(
    not MUSIC.is_dir() and "VIBEWEAVER_TEST_ALL" not in os.environ,  # in continuous integration nothing is skipped
    reason=f"no shared data: {MUSIC} is not there",
)
