"""The effects of one step of the engine, collected until it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.engine import effects

    #: What a step returns: records and marks, and the actions that wait until those are durable.
    Step = tuple[list[effects.Record | effects.Mark], list[effects.Action]]


class Outbox:
    """The effects of a step: records first, so that a start is on record before it is carried out."""

    def __init__(self) -> None:
        self.records: list[effects.Record | effects.Mark] = []
        self.actions: list[effects.Action] = []
        #: What is being decided on, for `blame`: a run, or the name of a job; None: no single item.
        self.subject: object = None

    def take(self) -> Step:
        """Return the effects so far, and start a new list."""
        taken = self.records, self.actions
        self.records, self.actions = [], []
        return taken


class WatchedOutbox(Outbox):
    """One that tells of each subject, in steps where one of many jobs or runs may crash this process."""

    def __init__(self) -> None:
        #: Called with each subject; None: nobody wants to know.
        self.watch: Callable[[object], None] | None = None
        super().__init__()

    @property
    def subject(self) -> object:
        """Return what is being decided on."""
        return self._subject

    @subject.setter
    def subject(self, subject: object) -> None:
        self._subject = subject
        if self.watch is not None:
            self.watch(subject)
