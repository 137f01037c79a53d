"""What the running scheduler says that no ledger has: why it cannot record, and why runs of a job wait."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.control.client import connect
from taskman_cli.core.engine.waits import amount_words
from taskman_cli.core.protocol import Show, Status
from taskman_cli.errors import TaskmanError
from taskman_cli.insight.why.facts import WaitFacts

if TYPE_CHECKING:
    from pathlib import Path

#: A healthy scheduler answers within a hundredth of that.
_ASK_S = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """The answer; empty if there is none."""

    #: Why the ledger cannot be written; "": it can.
    trouble: str = ""
    #: Why runs wait, by run.
    waits: dict[str, tuple[WaitFacts, ...]] = field(default_factory=dict)


def told_of(directory: Path, job: str) -> Told:
    """Ask the scheduler about a job, and do not wait long for it."""
    trouble = ""
    with suppress(TaskmanError, OSError), connect(directory, patience_s=0) as scheduler:
        trouble = str(scheduler.ask(Status(), timeout_s=_ASK_S)["ledger"] or "")
        found: dict[str, tuple[WaitFacts, ...]] = {}
        # An older scheduler does not send it.
        for wait in scheduler.ask(Show(job=job), timeout_s=_ASK_S)["job"].get("waits", []):
            found[wait["run"]] = (*found.get(wait["run"], ()), _facts(wait))
        return Told(trouble, found)
    return Told(trouble)


def _facts(wait: dict[str, Any]) -> WaitFacts:
    holders = tuple(
        (
            holder["job"] if holder["task"] == "main" else f"{holder['job']}.{holder['task']}",
            amount_words(wait["resource"], holder["amount"]),
            holder["run"],
            holder["since_ns"],
        )
        for holder in wait["holders"]
    )
    return WaitFacts(wait["task"], wait["for"], wait["reason"], holders)
