"""The scheduler's ledger: opened once, written in batches, kept within its bounds."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.ledger.checkpoint import Checkpoints
from taskman_cli.ledger.oncejobs import read_last_once, read_once_jobs
from taskman_cli.ledger.queries.results import read_failing
from taskman_cli.ledger.recent import read_recent
from taskman_cli.ledger.reportqueue import ReportQueue, read_last_end, read_series
from taskman_cli.ledger.retention import Retention
from taskman_cli.ledger.shelf import Life, SetAsideRow
from taskman_cli.ledger.standing import (
    read_decided,
    read_hidden,
    read_jobs,
    read_needs,
    read_open_runs,
    read_over,
    read_rates,
    read_scheduler,
    read_successes,
)
from taskman_cli.ledger.store import (
    NAME,
    REMOVED,
    REPLACED,
    LedgerBroken,
    LedgerUnwritable,
    Place,
    check_writing,
    open_store,
    refuse_others,
    set_aside,
    translated,
)
from taskman_cli.ledger.turn import ReadOutput, no_output
from taskman_cli.ledger.unreadable import PAUSED, set_aside_unreadable
from taskman_cli.ledger.values import is_run
from taskman_cli.ledger.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine import effects
    from taskman_cli.core.engine.events import JobStanding
    from taskman_cli.core.engine.view import Failing, ResultRow
    from taskman_cli.core.model import Job, Settings
    from taskman_cli.ledger.retention import Removed
    from taskman_cli.ledger.standing import OpenRunRow, SchedulerStanding


#: The file and its directory are checked again after this time, with the next write.
LOOK_NS = 1_000_000_000


class Ledger:
    """The durable record of one state directory."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        supervisor: int,
        now: Now,
        restore: Callable[[], object] = lambda: None,
        timezone: str | None = None,
        boot: str | None = None,
        watched: frozenset[str] = frozenset(),
        identity: str | None = None,
        read_output: ReadOutput = no_output,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open the ledger; a broken one is set aside.

        Raises LedgerUnwritable, TaskmanError, and LedgerBroken if even a new one is broken.

        `restore` creates the directory again if it is lost, or raises TaskmanError. `boot` names this start
        of the machine, `watched` the runs that the supervisor has a command of, `identity` the ledger that
        the last scheduler of this supervisor wrote to. `read_output` returns the last lines of an attempt,
        for reports. `tell` is told in words of what takes long, beforehand.
        """
        self._tell = tell
        self._read_output = read_output
        self._path = directory / NAME
        self._settings = settings
        self._supervisor = supervisor
        self._restore = restore
        self._timezone = timezone
        self._life = Life(now.wall_ns, supervisor, boot, frozenset(filter(is_run, watched)))
        #: Rows that could not be read when it was opened.
        self.unreadable: list[SetAsideRow] = []
        #: A job's name is among them.
        self.is_name_lost = False
        #: When to check next that the file is in its place, on the elapsed clock.
        self._look_ns = 0
        #: Where a broken ledger was moved (None: it is gone), and what is wrong with it. Whoever tells of it
        #: keeps the identity of this one with the supervisor: told of once, whoever dies in between.
        self.set_aside: tuple[Path | None, str] | None = None
        self.standing: SchedulerStanding
        self.jobs: dict[str, JobStanding]
        self.open_runs: list[OpenRunRow]
        #: Runs of `watched` that are over on record.
        self.over_runs: frozenset[str] = frozenset()
        #: What `taskman remove` left out, by job.
        self.hidden: dict[str, effects.JobHidden]
        #: Jobs whose slots are accounted for by a later instant than those of all.
        self.decided: dict[str, int]
        #: When the rate of each resource has recovered from the starts on record.
        self.rates: dict[str, Now]
        #: How much memory tasks need, by job and task.
        self.needs: dict[tuple[str, str], int]
        #: Trouble that goes on and that sinks were told of.
        self.series: tuple[effects.SeriesNoted, ...]
        #: The last scheduler was told to stop, or there was none; and it had sinks.
        self.was_stopped: bool
        self.has_sinks: bool
        #: What sinks are told.
        self.reports: ReportQueue
        self.once_jobs: tuple[Job, ...]
        #: The highest N of a one-off job named once-N.
        self.last_once: int
        #: The latest results on record, newest last.
        self.recent: list[ResultRow]
        #: The jobs whose latest run failed.
        self.failing: list[Failing]
        #: When the last success of each job ended.
        self.successes: dict[str, int]
        #: None: it could not be opened; the next write tries again.
        self._connection: sqlite3.Connection | None = None
        #: What is wrong with a file that must still be set aside.
        self._why_broken: str | None = None
        #: Suffixes of our log files beside a file that is not ours.
        self._strays: tuple[str, ...] = ()
        try:
            self._open()
        except LedgerBroken as broken:
            self.replace(str(broken), now)
        else:
            if identity not in (None, self.standing.identity):
                self.set_aside = None, REMOVED if self.is_new else REPLACED

    def _open(self) -> None:
        connection = open_store(self._path, self._settings.durability, boot=self._life.boot, tell=self._tell)
        try:
            self.unreadable, self.is_name_lost = set_aside_unreadable(connection, self._life)
            check_writing(connection)
            self.standing = read_scheduler(connection)
            self.jobs = read_jobs(connection)
            self.open_runs = read_open_runs(connection)
            self.over_runs = read_over(connection, self._life.watched)
            self.hidden = read_hidden(connection)
            self.decided = read_decided(connection)
            self.rates = read_rates(connection)
            self.needs = read_needs(connection)
            self.once_jobs = read_once_jobs(connection)
            self.last_once = read_last_once(connection)
            self.recent = read_recent(connection)
            self.failing = read_failing(connection)
            self.successes = read_successes(connection)
            self.series = read_series(connection)
            self.was_stopped, self.has_sinks = read_last_end(connection)
            self.reports = ReportQueue(connection)
            self._writer = Writer(connection, self._supervisor, self._read_output)
        except sqlite3.Error as error:
            connection.close()
            known = translated(error)
            # Only what every ledger has was read.
            raise LedgerBroken(str(error)) if known is error else known from error
        except Exception as error:  # no damage may keep the scheduler from starting
            connection.close()
            raise LedgerBroken(f"it has an unreadable row: {error}") from error
        try:
            self._place = Place(self._path)
        except OSError as error:  # gone already
            connection.close()
            raise LedgerUnwritable(error.strerror) from error
        self._connection = connection
        if self._timezone is not None:
            # Commands that show times read it; they do without if it cannot be written now.
            with suppress(sqlite3.Error):
                connection.execute(
                    "UPDATE standing SET timezone = ?1 WHERE timezone IS NOT ?1", (self._timezone,)
                )
        self._checkpoints = Checkpoints(self._path, connection)
        self._retention = Retention(connection, keep_events=self._settings.keep_events)

    def release(self) -> None:
        """Forget how jobs and runs stood, which only the start of a scheduler asks for."""
        self.jobs, self.successes, self.needs = {}, {}, {}
        self.open_runs, self.over_runs = [], frozenset()

    def paused_for(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Return the jobs to pause because their state could not be read, each with the reason in words."""
        found = {row.job: PAUSED for row in self.unreadable if row.source == "job_state" and row.job}
        if self.is_name_lost:
            found |= {job.id: PAUSED for job in jobs if job.id not in self.jobs and not job.is_once}
        return found

    @property
    def is_new(self) -> bool:
        """Tell whether no scheduler has written to it before."""
        return self.standing.accounted_ns is None

    def replace(self, why: str, now: Now) -> None:
        """Set the file aside as broken and start a new one.

        Raises LedgerUnwritable if that is not possible, and LedgerBroken if the new one is broken too; the
        next write tries again.
        """
        strays: tuple[str, ...] = ()
        if self._connection is not None and (strays := self._place.strays()):
            with suppress(sqlite3.Error):  # SQLite copies the log only into a file that is in its place
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if self._connection is not None:  # closed, and not the one that anybody has read from
            self.reports = ReportQueue(self._connection)
        self.close()
        self._why_broken, self._strays = why, strays
        self._begin_anew(now)

    def _begin_anew(self, now: Now) -> None:
        """Finish `replace`."""
        try:
            if self._why_broken is not None:
                if self._strays:
                    set_aside(self._path, now.wall_ns, self._strays)
                    self._strays = ()
                refuse_others(self._path)
                self.set_aside = (set_aside(self._path, now.wall_ns), self._why_broken)
                self._why_broken = None
            self._open()
        except OSError as error:
            raise LedgerUnwritable(error.strerror) from error
        except TaskmanError as error:  # somebody put it there, and can remove it
            raise LedgerUnwritable(str(error)) from error

    def write(self, records: Iterable[effects.Record | effects.Mark], now: Now) -> None:
        """Make records durable, all or none. Raises LedgerUnwritable or LedgerBroken, with none written."""
        if now.elapsed_ns >= self._look_ns:
            self._look()
            self._look_ns = now.elapsed_ns + LOOK_NS
        if self._connection is None:
            self._begin_anew(now)
        records = list(records)
        self._writer.write(records, now)
        self._checkpoints.note(len(records))

    def salvage(
        self, records: Iterable[effects.Record | effects.Mark], now: Now
    ) -> list[tuple[effects.Record | effects.Mark, Exception, bool]]:
        """Write what is possible of records that `write` failed on, see `Writer.salvage`."""
        if self._connection is None:
            self._begin_anew(now)
        return self._writer.salvage(records, now)

    def _look(self) -> None:
        """Check that the file and its directory are still the ones at the path."""
        try:
            self._restore()
        except TaskmanError as error:
            raise LedgerUnwritable(str(error)) from error
        if self._connection is not None:
            self._place.check()

    def note_departed(self) -> None:
        """Count a job that is not defined any more."""
        self._retention.note_departed()

    @property
    def known_jobs(self) -> frozenset[str]:
        """Return the names of the jobs on record when the file was opened, without forgotten ones."""
        return frozenset(self._retention.on_record)

    def note_kept(self, job: str, *, keep_runs: int | None, keep_for_ns: int | None) -> None:
        """Count a run or a skip of a job; old rows of it may have to go."""
        self._retention.note(job, keep_runs=keep_runs, keep_for_ns=keep_for_ns)

    @property
    def chore_count(self) -> int:
        """Return how many jobs have rows that may be too many."""
        return self._retention.due_count if self._connection is not None else 0

    @property
    def has_chores(self) -> bool:
        """Tell whether `tidy` has something to do."""
        return self._connection is not None and self._retention.is_due

    def tidy(self, wall_ns: int) -> Removed | None:
        """Remove a few rows that are not kept any more; an error is left to the next write.

        Return the runs whose output is not kept any more, if there are any.
        """
        if self._connection is None:
            return None
        removed = None
        try:
            removed = self._retention.step(wall_ns)
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._retention.postpone()
            if not isinstance(error, sqlite3.Error):
                raise
        while self._retention.forgotten:
            self._writer.forget_job(self._retention.forgotten.pop())
        return removed

    def close(self) -> None:
        """Close the file; its write-ahead log is copied into it."""
        if self._connection is not None:
            self._checkpoints.close()
            self._connection.close()
            self._place.close()
            self._connection = None
