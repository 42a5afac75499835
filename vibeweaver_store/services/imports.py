"""Imports: what was brought in from where, how far a source was read, and how to take it away again."""
