"""The command line: one file a command, one renderer; the only place that prints. It decides nothing."""
