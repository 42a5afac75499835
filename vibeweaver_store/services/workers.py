"""Workers: the agents of an ensemble, and what becomes of them."""

from __future__ import annotations
