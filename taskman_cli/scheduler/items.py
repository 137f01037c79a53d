"""Poison items by name, and what a scheduler starts with in their place."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.engine import events
from taskman_cli.core.model import Policy
from taskman_cli.core.schedule import Reboot

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def print_of(value: object) -> str:
    """Return a few characters by which the next scheduler recognizes a request."""
    return f"{_checksum(value):08x}"


def print_of_jobs(jobs: Iterable[Job]) -> str:
    """Return the same for the jobs of job files: jobs that are defined alike have the same."""
    known: dict[int, tuple[object, int]] = {}

    def shared(part: object) -> int:
        """Return the checksum of what many jobs share, which is written once for all of them."""
        found = known.get(id(part))
        if found is None:
            found = known[id(part)] = part, _checksum(part)
        return found[1]

    total = 0
    for job in jobs:
        tasks = [(task.id, task.command, shared(task.execution)) for task in job.commands]
        own = (job.id, job.enabled, job.description, job.tags, job.source, job.is_once, job.gate is None)
        total = _checksum((own, tasks, shared(job.schedule), shared(job.policy)), total)
    return f"{total:08x}"


def _checksum(value: object, before: int = 0) -> int:
    return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"), before)
