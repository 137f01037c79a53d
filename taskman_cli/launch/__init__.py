"""What a command is started with: its argv, environment, account and locale."""
