"""Effects on their way out of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core import effects


class Outbox:
    """Effects on their way out: records first, so that a start is on record before it is carried out."""

    def __init__(self) -> None:
        self.records: list[effects.Record | effects.Mark] = []
        self.actions: list[effects.Action] = []
        #: What is decided on now, for `core.blame`: a run, or the name of a job; None: all of it.
        self.subject: object = None

    def take(self) -> tuple[list[effects.Record | effects.Mark], list[effects.Action]]:
        """Return what has gathered, and begin anew."""
        taken = self.records, self.actions
        self.records, self.actions = [], []
        return taken
