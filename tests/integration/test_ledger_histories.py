"""Whole histories of the scheduler in the real ledger: however they are cut into batches, the rows are equal.

The histories are those of the simulation, with crashes, disks that are full and ledgers that are lost; its
model of the ledger is the oracle for what the next scheduler reads.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from integration.ledger_tables import dump
from unit import simulation
from unit.simulated_ledger import OPEN, Disk

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import Durability
from taskman_cli.ledger import departed
from taskman_cli.ledger.oncejobs import read_once_jobs
from taskman_cli.ledger.retention import Retention
from taskman_cli.ledger.standing import read_hidden, read_jobs, read_open_runs, read_scheduler
from taskman_cli.ledger.store import NAME, open_store
from taskman_cli.ledger.writer import Writer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from unit.simulated_ledger import Record

    from taskman_cli.core.clock import Now

#: What says when a batch was written, and not when things happened.
MOMENTS = (
    "events.at_ns", "job_state.since_ns", "job_state.removed_ns", "job_state.success_ns", "runs.queued_ns",
    "runs.begun_ns", "runs.slow_ns", "runs.told_ns", "runs.ended_ns", "attempts.begun_ns", "skips.at_ns",
    "skips.at_to_ns", "standing.offset_ns", "standing.identity",
)  # fmt: skip


@dataclass
class Session:
    """What one scheduler wrote."""

    supervisor: int
    batches: list[tuple[list[Record], Now]] = field(default_factory=list)


class RecordingDisk(Disk):
    """The model of the ledger, which remembers what made it what it is."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        super().__init__()

    def clear(self) -> None:
        """Know nothing; the scheduler that goes on with a new ledger is the same."""
        super().clear()
        self.sessions = [Session(self.supervisor)]

    def write(self, records: Iterable[Record], now: Now) -> None:
        """Remember a batch that was written."""
        records = list(records)
        super().write(records, now)
        self.sessions[-1].batches.append((records, now))


class RecordedMachine(simulation.Machine):
    """The simulated machine, with a disk that remembers."""

    def new_scheduler(self) -> None:
        """Note where one scheduler's records end and another's begin."""
        if not isinstance(self.disk, RecordingDisk):
            self.disk = RecordingDisk()
        self.disk.sessions.append(Session(self.life))
        super().new_scheduler()


def play(seed: int) -> RecordingDisk:
    """Return the disk of a whole history."""
    with patch.object(simulation, "Machine", RecordedMachine):
        disk = simulation.play(seed).disk
    assert isinstance(disk, RecordingDisk)
    return disk


def cut(session: Session, chance: random.Random) -> list[tuple[list[Record], Now]]:
    """Cut what one scheduler wrote into other batches; each has the moment of its last record."""
    batches: list[tuple[list[Record], Now]] = []
    current: list[Record] = []
    for record, now in [(record, now) for records, now in session.batches for record in records]:
        current.append(record)
        if chance.random() < 0.3:
            batches.append((current, now))
            current = []
    if current:
        batches.append((current, session.batches[-1][1]))
    return batches


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000), chance=st.randoms(use_true_random=False))
def test_the_limits_of_batches_are_no_matter(seed: int, chance: random.Random) -> None:
    disk = play(seed)
    tables = []
    for is_cut in (False, True):
        with tempfile.TemporaryDirectory() as directory:
            connection = open_store(Path(directory) / NAME, Durability.PROCESS)
            for session in disk.sessions:
                writer = Writer(connection, session.supervisor)
                for records, now in cut(session, chance) if is_cut else session.batches:
                    writer.write(records, now)
            tables.append(dump(connection, without=MOMENTS))
            connection.close()
    assert tables[0] == tables[1]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_what_the_next_scheduler_reads_is_what_there_was(seed: int) -> None:
    disk = play(seed)
    model = Disk()
    with tempfile.TemporaryDirectory() as directory:
        connection = open_store(Path(directory) / NAME, Durability.PROCESS)
        for session in disk.sessions:
            writer = Writer(connection, session.supervisor)
            model.supervisor = session.supervisor
            for records, now in session.batches:
                writer.write(records, now)
                model.write(records, now)
                assert model.open_rows() == read_open_runs(connection)
            whole = read_scheduler(connection)
            assert (model.accounted_ns, model.boot, model.life, model.offset_ns) == (
                whole.accounted_ns, whole.boot, whole.supervisor, whole.offset_ns
            )  # fmt: skip
            assert max((model.last_run, *map(decode_run_id, model.runs))) == whole.last_run
            known = read_jobs(connection)
            assert [replace(job, since_ns=0) for _, job in sorted(model.jobs.items())] == [
                replace(job, since_ns=0) for _, job in sorted(known.items())
            ]
            assert model.hidden == {
                name: replace(hidden, tasks=model.hidden[name].tasks) if hidden.is_all else hidden
                for name, hidden in read_hidden(connection).items()
            }
            assert tuple(model.once.values()) == read_once_jobs(connection)
        connection.close()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1_000_000), keep_for_ns=st.sampled_from([None, 10 * SECOND_NS]))
def test_whatever_is_not_kept_the_next_scheduler_reads_what_there_was(
    seed: int, keep_for_ns: int | None
) -> None:
    disk = play(seed)
    model = Disk()
    names = ("KEPT_ONE_OFFS", "KEPT_ONE_OFF_OUTPUTS", "KEPT_REMOVED", "_SLACK")
    with tempfile.TemporaryDirectory() as directory, patch.multiple(departed, **dict.fromkeys(names, 1)):
        connection = open_store(Path(directory) / NAME, Durability.PROCESS)
        for session in disk.sessions:
            writer = Writer(connection, session.supervisor)
            retention = Retention(connection, keep_events=1)
            model.supervisor = session.supervisor
            for records, now in session.batches:
                writer.write(records, now)
                model.write(records, now)
                _tidy(retention, writer, model, records, now, keep_for_ns=keep_for_ns)
                assert model.open_rows() == read_open_runs(connection)
        assert max((model.last_run, *map(decode_run_id, model.runs))) == read_scheduler(connection).last_run
        assert model.jobs.keys() == read_jobs(connection).keys()
        assert model.hidden.keys() == read_hidden(connection).keys()
        assert tuple(model.once.values()) == read_once_jobs(connection)
        assert connection.execute("SELECT count(*) FROM job_state").fetchone()[0] <= len(
            model.jobs
        ) + 2 + len(
            {run.queued.job for run in model.runs.values() if run.state in OPEN} | model.hidden.keys()
        )
        connection.close()


def _tidy(
    retention: Retention,
    writer: Writer,
    model: Disk,
    records: list[Record],
    now: Now,
    *,
    keep_for_ns: int | None,
) -> None:
    """Keep one run of each job, and check that no output is given up of a run that is not over."""
    for name in model.jobs:
        retention.note(name, keep_runs=1, keep_for_ns=keep_for_ns)
    for record in records:
        if isinstance(record, effects.JobRemoved):
            retention.note_departed()
    is_open = {decode_run_id(name) for name, run in model.runs.items() if run.state in OPEN}
    while retention.is_due:
        if removed := retention.step(now.wall_ns):
            assert set() == is_open & set(removed.runs)
        while retention.forgotten:
            writer.forget_job(retention.forgotten.pop())
