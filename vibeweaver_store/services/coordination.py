"""Coordination events: what a coordinator must act on, each taken once."""

from __future__ import annotations
