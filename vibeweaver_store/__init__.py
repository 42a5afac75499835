"""One store for everything that a creative agent system must remember."""

__version__ = "0.1.0"
