"""Schedules in plain words: what one says, and what may surprise about it."""

from taskman_cli.core.explain.notes import Note, schedule_notes
from taskman_cli.core.explain.words import schedule_words

__all__ = ["Note", "schedule_notes", "schedule_words"]
