"""One running scheduler on disk: its state directory, the lock on it, and whether both are still there."""
