"""Answers to questions about schedules, jobs and runs: why, explain, lint.

Pure, and used by commands only: the scheduler never loads it.
"""
