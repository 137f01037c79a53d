"""What `[executors.NAME]` and jobs can say for each type of executor that comes with taskman."""
