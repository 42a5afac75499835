"""Real files that others wrote, read in place: they lie beside the checkout and never in it."""

from __future__ import annotations

from pathlib import Path

import pytest

MUSIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "music"

needs_shared_data = pytest.mark.skipif(not MUSIC.is_dir(), reason=f"no shared data: {MUSIC} is not there")
