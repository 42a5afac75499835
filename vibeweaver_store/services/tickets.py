"""Tickets: pieces of work that go through the stages of their plans."""

from __future__ import annotations
