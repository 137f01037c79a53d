"""Schedules in plain words: what one says, and what may surprise about it."""

from taskman_cli.insight.explain.description import schedule_words
from taskman_cli.insight.explain.notes import Note, schedule_notes

__all__ = ["Note", "schedule_notes", "schedule_words"]
