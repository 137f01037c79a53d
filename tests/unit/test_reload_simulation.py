"""The laws of the scheduler over histories in which reloads change many jobs, a part of them in each turn.

With `TASKMAN_SEEDS=N` it plays so many.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from unit import simulation
from unit.simulation import Machine, play

from taskman_cli.core.engine.jobset import JobSet
from taskman_cli.core.engine.waits import WaitsFor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine import events
    from taskman_cli.core.model import Settings

FIRST, CHUNK = 1_000_000, 100
LAST = FIRST + int(os.environ.get("TASKMAN_SEEDS", "200"))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Let the job file be edited in many places before it is read; count the parts that were taken."""
    found: Counter[str] = Counter()
    have_read, take_part = Machine.have_read, JobSet._take

    def edit_and_read(machine: Machine) -> None:
        if machine.is_reading:
            for _ in range(4):
                machine.edit()
        have_read(machine)

    def count(job_set: JobSet, event: events.JobsReloaded, settings: Settings, now: Now) -> None:
        found["part" if event.is_part else "last"] += 1
        take_part(job_set, event, settings, now)

    monkeypatch.setattr(Machine, "have_read", edit_and_read)
    monkeypatch.setattr(JobSet, "_take", count)
    # Here it does not matter for what of an executor is waited.
    monkeypatch.setattr(simulation, "WHILE_IDLE", simulation.WHILE_IDLE | {WaitsFor.EXECUTOR})
    logging.disable(logging.CRITICAL)
    yield found
    logging.disable(logging.NOTSET)


@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(FIRST, LAST, CHUNK))
def test_nothing_is_lost_and_nothing_done_twice_whatever_dies_between_parts(
    taken: Counter[str], first: int
) -> None:
    for seed in range(first, first + CHUNK):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert taken["part"] > CHUNK // 4
