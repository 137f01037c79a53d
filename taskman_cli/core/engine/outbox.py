"""Effects on their way out of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.engine import effects


class Outbox:
    """Effects on their way out: records first, so that a start is on record before it is carried out."""

    def __init__(self) -> None:
        self.records: list[effects.Record | effects.Mark] = []
        self.actions: list[effects.Action] = []
        self._subject: object = None
        #: Hears of each subject, of steps in which one of many jobs or runs may be the end of this process.
        self.watch: Callable[[object], None] | None = None

    @property
    def subject(self) -> object:
        """Return what is decided on now, for `core.blame`: a run, or the name of a job; None: all of it."""
        return self._subject

    @subject.setter
    def subject(self, subject: object) -> None:
        self._subject = subject
        if self.watch is not None:
            self.watch(subject)

    def take(self) -> tuple[list[effects.Record | effects.Mark], list[effects.Action]]:
        """Return what has gathered, and begin anew."""
        taken = self.records, self.actions
        self.records, self.actions = [], []
        return taken
