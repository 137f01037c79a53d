"""What people ask of the running scheduler, and what they change of its jobs."""
