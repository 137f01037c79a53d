"""What the engine was busy with when something raised: the item that the next scheduler sets aside.

A step that raised has left the engine half changed, so nothing more may be asked of it: the scheduler ends,
and the next one begins from the ledger. It must not end of the same item again.

A `Tick` names each job, run and attempt before it decides on it. What is left is of no one item: the queues
of what is due, the account of slots. If that raises, nothing can be set aside, and nothing is: each scheduler
ends like the one before, after pauses that double up to `restart_delay_max`. Commands go on, their ends are
kept by the supervisor, and a stop is carried out.
"""

from __future__ import annotations

from typing import NamedTuple

from taskman_cli.core.engine.events import OpenRun
from taskman_cli.core.engine.runs import Run


class Item(NamedTuple):
    """One thing that a scheduler deals with, by a name that the next one knows it by, too."""

    #: "job", "run", "attempt", "request", …
    kind: str
    name: str
    #: The job that it belongs to, as far as that is known.
    job: str = ""


class EngineBroken(BaseException):
    """Say that a step of the engine raised, and what it was busy with; the engine must not be used any more.

    Not an Exception: whoever goes on after an error of one item must not go on after this.
    """

    def __init__(self, item: Item | None) -> None:
        super().__init__(item)
        self.item = item


def item_of(subject: object) -> Item | None:
    """Name what the engine was busy with: a run, or a job by its name; None: nothing of one job alone."""
    match subject:
        case Run():
            return Item("run", subject.id, subject.job.id)
        case OpenRun():
            return Item("run", subject.run, subject.job)
        case str():
            return Item("job", subject, subject)
        case _:
            return None
