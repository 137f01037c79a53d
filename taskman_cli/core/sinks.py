"""What a job file says of sinks, the receivers of results: which there are, and what each of them is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from taskman_cli.core.model import SkipReason

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReportKind(StrEnum):
    """What a report tells: something about a run of a job, a job, or the scheduler."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    RETRIED = "retried"
    #: The first success after a failure.
    RECOVERED = "recovered"
    PARKED = "parked"
    #: A run began later than `delayed_after`.
    DELAYED = "delayed"
    #: A run takes longer than `slow_after`.
    SLOW = "slow"
    #: There was no success for `expect_every`.
    OVERDUE = "overdue"
    SCHEDULER_STARTED = "scheduler_started"
    SCHEDULER_STOPPED = "scheduler_stopped"
    SCHEDULER_DIED = "scheduler_died"


#: They go to every sink whose `on` names them; the others to the sinks of their job.
OF_THE_SCHEDULER = frozenset(
    {ReportKind.SCHEDULER_STARTED, ReportKind.SCHEDULER_STOPPED, ReportKind.SCHEDULER_DIED}
)
#: What `on = ["problems"]` means, which is the default; of skips, those that nobody has asked for.
PROBLEMS = frozenset(
    {
        ReportKind.FAILED, ReportKind.TIMED_OUT, ReportKind.LOST, ReportKind.PARKED, ReportKind.DELAYED,
        ReportKind.SLOW, ReportKind.OVERDUE, ReportKind.RECOVERED, ReportKind.SCHEDULER_DIED,
    }
)  # fmt: skip
#: Skips that are no problem: somebody has asked for them.
_WANTED_SKIPS = frozenset({SkipReason.OVERLAP, SkipReason.PAUSED, SkipReason.DISABLED})

#: What a setting of a sink may be: what TOML has. A secret is a table such as {"env": "HOOK_SECRET"}.
Value = str | int | float | bool | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class SinkDefinition:
    """One sink, as `[sinks.NAME]` defines it."""

    name: str
    #: "webhook", "mail", …, or the name of an entry point of the group `taskman.sinks`.
    type: str
    #: Kinds by name; skips that are problems are in `tells_skips` alone.
    on: frozenset[ReportKind] = PROBLEMS
    #: Whether skips that are problems are told, though `on` does not have all skips.
    tells_skips: bool = True
    #: "json", "text", or the name of a template; "": what the type prefers.
    format: str = ""
    #: How many of the last lines of output go along.
    output_lines: int = 20
    #: Keys of its type, as the file has them; secrets are not looked up yet.
    settings: Mapping[str, Value] = field(default_factory=dict)

    def wants(self, kind: ReportKind, reason: SkipReason | None = None) -> bool:
        """Tell whether the sink is told of this; `reason` is that of a skip."""
        if kind in self.on:
            return True
        return kind is ReportKind.SKIPPED and self.tells_skips and reason not in _WANTED_SKIPS
