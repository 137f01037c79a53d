"""The command line: one file per command, and one renderer. Only this part prints; it decides nothing."""
