"""The process that decides: its composition root, its loop, and all that is wired to it."""
