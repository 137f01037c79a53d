"""A schedule in plain words, and what may be surprising about it."""

from taskman_cli.insight.explain.description import schedule_words
from taskman_cli.insight.explain.notes import Note, schedule_notes

__all__ = ["Note", "schedule_notes", "schedule_words"]
