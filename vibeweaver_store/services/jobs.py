"""Jobs: background work that is claimed under a lease, retried, and completed once."""

from __future__ import annotations
