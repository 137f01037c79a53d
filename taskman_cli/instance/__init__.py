"""One running scheduler on disk: its state directory, its lock, and the check that both are still there."""
