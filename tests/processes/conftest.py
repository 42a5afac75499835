"""Fixtures for tests of processes: those of the command line, too."""

from __future__ import annotations

from tests.cli.conftest import jam, look, run_at_terminal, run_process

__all__ = ["jam", "look", "run_at_terminal", "run_process"]
