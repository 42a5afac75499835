"""The store beside SQLite itself, the bare driver and its peers: ``python -m benchmarks --help``."""
