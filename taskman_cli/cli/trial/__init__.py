"""Running one command in the foreground, as the supervisor would."""
