"""Comments: what is written on tickets, in the order of writing."""

from __future__ import annotations
