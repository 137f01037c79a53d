"""The ways in: the control socket with its request handlers, and job files that have changed.

A part of the scheduler's loop, which registers its descriptors and gives it its turns.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.control.place import SOCKET
from taskman_cli.control.server import ControlServer
from taskman_cli.core.clock import earliest
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.answers import MOST_NAMED, changes_in_words
from taskman_cli.core.engine.news import shortened
from taskman_cli.errors import EXIT_FAILED, TaskmanError
from taskman_cli.scheduler.logs.loggers import job_log
from taskman_cli.scheduler.poison import ReadFiles
from taskman_cli.scheduler.requests.handlers import RequestHandlers
from taskman_cli.scheduler.requests.job_changes import with_earlier
from taskman_cli.scheduler.requests.reload import Reading
from taskman_cli.scheduler.requests.removed_executors import RemovedExecutors
from taskman_cli.scheduler.requests.waiters import WAITED_FOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.model import Settings
    from taskman_cli.jobfile import JobFile
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.exporter import Exporter
    from taskman_cli.scheduler.logs.log import Log
    from taskman_cli.scheduler.outlets.deliveries import Deliveries
    from taskman_cli.scheduler.requests.handlers import Program
    from taskman_cli.scheduler.requests.job_changes import Definitions
    from taskman_cli.scheduler.requests.job_files import JobFiles
    from taskman_cli.scheduler.workers import Workers

#: Kept for the next scheduler, as a value of the supervisor: the definitions, compressed. It keeps up to
#: 16 MB, some million jobs; larger files are read again.
JOBS = "jobfile"
#: Under this name version 0.1 kept a pickle, which no other version can read.
OLD_JOBS = "jobs"
#: What asks for a reload when a change was seen.
WATCH = "watch"
#: What is remembered of one-off jobs is dropped each time that this many are over.
MANY_OVER = 1_000


class RequestService:
    """Takes requests and changed job files."""

    def __init__(
        self,
        driver: EngineDriver,
        program: Program,
        known: Definitions,
        files: JobFiles,
        workers: Workers,
        *,
        exporter: Exporter,
        log: Log | None = None,
    ) -> None:
        """Open the socket, begin to watch the files, and have the metrics served; `log` follows the files."""
        self._exporter, self._log = exporter, log
        self._driver = driver
        self._workers = workers
        self._files = files
        #: What the supervisor was told during a reload, with all executors that may go; None: there is none.
        self._told: Settings | None = None
        self._removed = RemovedExecutors(driver.engine)
        self._handlers = RequestHandlers(driver, program, known, files)
        #: Takes the engine's answers.
        self.answer = self._handlers.answer
        self._server = ControlServer(
            Path(program.state_directory) / SOCKET,
            os.geteuid(),
            self._handlers.handle,
            at=program.socket,
        )
        exporter.configure(driver.engine.settings)
        depths = driver.meters.depths
        depths.watch("requests", self._server.waiting_count)
        depths.watch("clients", self._server.unread_bytes, is_bytes=True)
        #: The warnings of the last files that were taken.
        self._warned: set[str] = set()
        self._overs = 0
        files.watch(known.jobfile.seen)
        if files.last_note and driver.engine.settings.watch:
            # They may have been put right before anything watched them: no look would find a change.
            self._read_again()

    def attach(self, deliveries: Deliveries) -> None:
        """Let requests ask about sinks."""
        self._handlers.attach(deliveries)

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors to wait on."""
        return self._server.fileno(), self._exporter.fileno(), *self._files.filenos()

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        return earliest(
            self._server.next_timer(), self._handlers.next_timer(), self._files.retry_at_ns,
            self._exporter.next_timer(),
        )  # fmt: skip

    def turn(self, ready: set[int]) -> None:
        """Take what has come in on descriptors that are ready, and do what has come due."""
        now_ns = self._driver.now.elapsed_ns
        if reading := self._files.take_reading(ready):
            self._take(reading)
        timer = self._server.next_timer()
        if self._server.fileno() in ready or (timer is not None and timer <= now_ns):
            self._server.turn(now_ns)
        self._handlers.turn()
        self._let_executors_go()
        if self._exporter.fileno() in ready:
            self._exporter.take()
        if self._files.take_change(ready):
            self._read_again()
        if self._files.is_retry_due:
            self._read_again()

    @property
    def has_portions(self) -> bool:
        """Tell whether a long reply can go on."""
        return self._server.has_portions

    def make_portion(self) -> None:
        """Make and send one portion of a long reply, between two turns."""
        self._server.make_portion(self._driver.now.elapsed_ns)

    @property
    def has_parts(self) -> bool:
        """Tell whether a part of the files that were read last is still to be put in force."""
        return self._handlers.changes.has_parts

    @property
    def is_reading(self) -> bool:
        """Tell whether the job files are being read again."""
        return self._handlers.changes.is_reading

    def reload(self) -> None:
        """Read the files again, as SIGHUP asks."""
        self._handlers.changes.reload(None, "SIGHUP")

    def files_note(self) -> FilesNote | None:
        """Return what came of reading the files again, as long as that matters."""
        return self._files.note()

    def _read_again(self) -> None:
        """Read the files, unless that goes on already."""
        self._files.retry_at_ns = None
        if not self._handlers.changes.is_reading and not self._driver.engine.is_stopping:
            self._handlers.changes.reload(None, WATCH)

    def _let_executors_go(self) -> None:
        """Tell the supervisor when executors that a reload has removed are not needed any more."""
        is_other, settings = self._removed.forget(), self._driver.engine.settings
        if self._told is not None and not self._handlers.changes.has_parts:
            self._removed.take(self._told)
            is_other, self._told = self._told.executors != settings.executors, None
        if is_other and self._told is None:
            self._workers.configure(self._removed.added_to(settings))

    def _take(self, reading: Reading) -> None:
        """Put in force what was read, or say what is wrong with it."""
        changes, poison = self._handlers.changes, self._driver.poison
        if reading.jobfile and (objection := self._objection(reading.jobfile, reading.prepared)):
            reading = Reading(words=objection, summary=objection, code=EXIT_FAILED, seen=reading.seen)
        if reading.jobfile:
            poison.asked = ReadFiles(reading.jobfile.jobs, reading.prepared)
            self._workers.forget_plans()
            known = self._removed.added_to(self._driver.engine.settings)
            self._told = with_earlier(reading.jobfile.settings, known)
            self._workers.configure(self._told)
            self._exporter.configure(reading.jobfile.settings)
            self._workers.keep(JOBS, reading.kept)
            self._files.accept(reading.jobfile)
            changes.reloaded(reading.jobfile, reading.warnings, reading.difference)
            if self._driver.clocks.zone:
                self._driver.clocks.zone.take(reading.jobfile)
            self._log_warnings(reading.warnings)
            self._files.note_well()
            poison.asked = None
        else:
            by = changes.reload_failed(reading.words, code=reading.code)
            before = self._files.last_note
            # A retry each minute is logged once.
            if by != WATCH or before is None or before.words != shortened(reading.words):
                _log_failure(by, reading.words)
                self._driver.note(effects.SchedulerNoted("reload_failed", f"{reading.summary}, by {by}"))
                self._files.note_trouble(reading.summary, shortened(reading.words))
        if not changes.is_reading:
            self._files.watch(reading.seen)

    def _log_warnings(self, warnings: Iterable[tuple[str, str]]) -> None:
        """Log what will fail when jobs run, unless the last reload said so."""
        before, self._warned = self._warned, {words for _, words in warnings}
        for words in list(dict.fromkeys(words for _, words in warnings if words not in before))[:MOST_NAMED]:
            job_log.warning("%s", words.partition("\n")[0])

    def _objection(self, jobfile: JobFile, print_: str) -> str | None:
        known = self._driver.poison.objection(ReadFiles(jobfile.jobs, print_), self._driver.now.wall_ns)
        found = known or self._handlers.changes.objection(jobfile)
        if self._log is not None:
            try:
                if found is None:
                    self._log.take(jobfile.logging)
                else:
                    self._log.drop_prepared()
            except TaskmanError as error:  # last, since it changes the log at once
                return error.render()
        return found

    def follow(self) -> None:
        """Take note of records that are durable, from now on."""
        self._driver.follow(dict.fromkeys(WAITED_FOR, self._handlers.tell))
        self._driver.follow({effects.JobsTaken: self._jobs_taken, effects.OnceOver: self._once_over})

    def _jobs_taken(self, record: effects.JobsTaken) -> None:
        if record.by is not None:
            gc.freeze()  # as at the start: the jobs stay
            self._files.note_news(f"reload: {changes_in_words(record)}")

    def _once_over(self, _: effects.OnceOver) -> None:
        self._overs += 1
        if self._overs % MANY_OVER == 0:
            self._workers.forget_plans()  # those of commands that never come again

    def flush(self) -> None:
        """Send the replies of this turn."""
        self._server.flush(self._driver.now.elapsed_ns)
        self._exporter.look(self._driver.steps, self._driver.now.elapsed_ns)

    def close(self) -> None:
        """Close the socket, and stop reading and watching the files."""
        self._server.close()
        self._exporter.close()
        self._files.close()


def _log_failure(by: str, words: str) -> None:
    """Log what is wrong with the files, a line of the report on a line."""
    fields = {"event": "reload_failed", "by": by}
    job_log.error("reload (%s): nothing was changed; the previous jobs stay in effect:", by, extra=fields)
    for line in words.splitlines():
        job_log.error("%s", line)
