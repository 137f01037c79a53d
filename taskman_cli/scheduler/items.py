"""Poison items by name, and what a scheduler starts with in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.engine import events
from taskman_cli.core.model import Policy
from taskman_cli.core.schedule import Reboot

if TYPE_CHECKING:
    from taskman_cli.core.engine.blame import Item
    from taskman_cli.core.model import Job


def named(item: Item) -> str:
    """Name an item for people."""
    match item.kind:
        case "attempt":
            return f"the end of attempt {item.name}"
        case "request":
            return f"a request ({item.name.partition(' ')[0]})"
        case "files":
            return "the job files"
        case "part":
            return 'the gate of admission = "auto"'
        case "run":
            return f"run {item.name} of {item.job}"
        case _:
            return f"{item.kind} {item.name}"


def without(run: events.OpenRun, key: str | None, why: str) -> events.OpenRun:
    """Return a run with one attempt's end, or the whole run, set aside."""
    if key is None:
        return replace(run, set_aside=why)
    _, task, number = key.split(".")
    return replace(
        run,
        attempts=tuple(
            replace(seen, fate=events.Gone(why))
            if (seen.task, str(seen.number)) == (task, number)
            and isinstance(seen.fate, events.Over | events.StartFailed)
            else seen
            for seen in run.attempts
        ),
    )


def stand_in(job: Job) -> Job:
    """Return a job of the same name that is never due."""
    policy = Policy(max_runs=job.policy.max_runs)  # its earlier runs still count
    return replace(job, schedule=Reboot("UTC"), policy=policy, is_once=False)
