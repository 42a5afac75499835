"""Worker types: the roles of a project, each with its prompt."""

from __future__ import annotations
