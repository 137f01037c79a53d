"""What the engine was busy with when something raised: the item that the next scheduler sets aside.

A step that raised has left the engine half changed, so it must not be used any more: the scheduler exits,
and the next one starts from the ledger. The same item must not end that one too.

A `Tick` names each job, run and attempt before it decides on it. The rest belongs to no single item: the
queues of due jobs, the account of slots. If that raises, nothing is set aside, and each scheduler exits like
the one before, after pauses that double up to `restart_delay_max`. Commands continue, the supervisor keeps
their ends, and a stop works. The gate of `admission = "auto"` is set aside as a whole (`parts`).
"""

from __future__ import annotations

from typing import NamedTuple

from taskman_cli.core.engine.events import OpenRun
from taskman_cli.core.engine.runs import Run


class Item(NamedTuple):
    """One thing that a scheduler handles, under a name that the next scheduler can find it by."""

    #: "job", "run", "attempt", "request", "part", …
    kind: str
    name: str
    #: The job that it belongs to, as far as that is known.
    job: str = ""


#: The gate of `admission = "auto"`, which the next scheduler does without.
ADMISSION = Item("part", "admission")


class EngineBroken(BaseException):
    """Say that a step of the engine raised, and at which item; the engine must not be used any more.

    Not an Exception: code that continues after the error of one item must not continue after this.
    """

    def __init__(self, item: Item | None) -> None:
        super().__init__(item)
        self.item = item


def item_of(subject: object) -> Item | None:
    """Return the item that the engine was busy with; None: nothing of a single job."""
    match subject:
        case Run():
            return Item("run", subject.id, subject.job.id)
        case OpenRun():
            return Item("run", subject.run, subject.job)
        case str():
            return Item("job", subject, subject)
        case _:
            return None
