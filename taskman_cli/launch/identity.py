"""The variables by which a command knows which attempt it is."""

from __future__ import annotations


def identity_of(job: str, task: str, run: str, attempt: int, slot: str, trigger: str) -> dict[str, str]:
    """Return the variables of an attempt; `slot` is the time it is for, as `format_slot` writes it."""
    return {
        "TASKMAN_JOB": job,
        "TASKMAN_TASK": task,
        "TASKMAN_RUN_ID": run,
        "TASKMAN_ATTEMPT": str(attempt),
        "TASKMAN_SLOT": slot,
        "TASKMAN_TRIGGER": trigger,
    }
