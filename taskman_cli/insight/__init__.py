"""What people want to know about schedules, jobs and runs: why, explain, lint.

Pure, and for people's commands only: the scheduler never loads it.
"""
