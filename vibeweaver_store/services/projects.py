"""Projects: the repositories that ensembles work on."""

from __future__ import annotations
