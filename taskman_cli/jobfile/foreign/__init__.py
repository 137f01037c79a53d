"""Jobs of other schedulers -> the text of a job file, with what differs; one file a format."""
