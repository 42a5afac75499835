"""The journal: what coding agents wrote of their own work, line by line."""
