"""Arenas: where several agents work on one task, each instance in its own worktree."""
