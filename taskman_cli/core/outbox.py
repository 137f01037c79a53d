"""Effects on their way out of a step, and the names of what is kept for the next scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core import effects

#: All slots due by this instant are accounted for.
ACCOUNTED = "accounted"
#: Before a job's name: its runs so far, where `max_runs` counts them;
RUN_COUNT = "run_count:"
#: before a job's name: what its interval counts from, with `every_from = "finish"`;
FINISH = "finish:"
#: before a run's id: a run that has begun nothing yet, as (job, slot, trigger);
WAITING = "waiting:"
#: before an attempt's key: its end is on record, though its run is not over.
TOLD = "told:"


class Outbox:
    """Effects on their way out: records first, so that a start is on record before it is carried out."""

    def __init__(self) -> None:
        self.records: list[effects.Record] = []
        self.actions: list[effects.Action] = []

    def take(self) -> tuple[list[effects.Record], list[effects.Action]]:
        """Return what has gathered, and begin anew."""
        taken = self.records, self.actions
        self.records, self.actions = [], []
        return taken
