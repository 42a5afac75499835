"""Foreign data in: each module reads one kind of file that other programs write."""
