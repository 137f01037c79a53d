"""All that lets people in: the control socket, the desk behind it, and the reading of changed job files.

One part of the scheduler's loop, which registers its descriptors and gives it its turns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.control.place import SOCKET
from taskman_cli.control.server import ControlServer
from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.answers import MOST_NAMED, changes_in_words
from taskman_cli.core.engine.news import FilesNote, shortened
from taskman_cli.errors import EXIT_FAILED
from taskman_cli.jobfile.dump import dump
from taskman_cli.scheduler.log import logger
from taskman_cli.scheduler.poison import Files
from taskman_cli.scheduler.requests.handlers import Desk
from taskman_cli.scheduler.requests.reload import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine import events
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.jobfile import JobFile
    from taskman_cli.jobfile.fingerprint import Seen
    from taskman_cli.scheduler.poison import Poison
    from taskman_cli.scheduler.requests.file_changes import Watcher
    from taskman_cli.scheduler.requests.handlers import Program
    from taskman_cli.scheduler.requests.reload import Reloader
    from taskman_cli.scheduler.workers import Workers

#: Value kept for the next scheduler: the definitions. The supervisor keeps up to 16 MB, some 200,000 jobs;
#: more are read anew.
JOBS = "jobfile"
#: Under this name version 0.1 kept a pickle, which no other version can read.
OLD_JOBS = "jobs"
#: Likewise: what is wrong with the files as they are by now, as `FilesNote` has it.
FILES_TROUBLE = "files_trouble"
#: What is new since a reload is shown for so long.
NEWS_NS = 30_000_000_000
#: With `watch = true`, files that could not be read because something hung are tried again after this time.
TRY_AGAIN_NS = 60_000_000_000
BLIND = "not watched any more: a file system that they are on does not answer"
#: Who has them read then.
WATCH = "watch"
#: So many one-hit jobs may be over before what is remembered of them is let go.
MANY_OVER = 1_000


class Reception:
    """Lets people in."""

    def __init__(
        self,
        program: Program,
        jobfile: JobFile,
        hidden: dict[str, effects.JobHidden],
        *,
        last_once: int,
        reloader: Reloader,
        watcher: Watcher,
        trouble: tuple[int, str, str] | None = None,
        workers: Workers,
    ) -> None:
        """Open the socket; `trouble` is what was kept of an earlier scheduler's with the files."""
        self._program = program
        self._jobfile = jobfile
        self._hidden = hidden
        self._last_once = last_once
        self._workers = workers
        self._reloader = reloader
        self._desk: Desk
        self._now: Callable[[], Now]
        self._server = ControlServer(
            Path(program.state_directory) / SOCKET,
            os.geteuid(),
            lambda request, client: self._desk.handle(request, client),
        )
        self._watcher = watcher
        #: What came of reading the files again; what is wrong with them stays until they are right.
        self._files_note = FilesNote(*trouble, is_bad=True) if trouble else None
        #: When to read them again though nothing is known to be different.
        self._try_again_ns: int | None = None
        #: What was told of the last files that were taken.
        self._warned: set[str] = set()
        #: A look at the files does not come back.
        self._is_blind = False
        self._overs = 0
        self._told: dict[type, Callable[[Any], None]] = {
            effects.JobsTaken: self._jobs_taken,
            effects.OnceOver: self._once_over,
        }

    def attach(
        self,
        engine: Engine,
        *,
        give: Callable[[events.Event], None],
        note: Callable[[effects.SchedulerNoted], None],
        now: Callable[[], Now],
        trouble: Callable[[], str | None],
        poison: Poison,
    ) -> None:
        """Become a part of a loop."""
        self._engine = engine
        self._now = now
        self._note = note
        self._poison = poison
        self._desk = Desk(
            engine,
            self._program,
            self._jobfile,
            self._hidden,
            last_once=self._last_once,
            give=give,
            now=now,
            reload=self._read_files,
            trouble=trouble,
            files_note=self.files_note,
            poison=poison,
        )
        self._watch(self._jobfile.seen)
        if self._files_note and self._engine.settings.watch:
            # By now they may be as they were when they were taken, and no look would tell.
            self._read_again()

    def filenos(self) -> tuple[int, int, int]:
        """Return the descriptors to wait on."""
        return self._server.fileno(), self._reloader.fileno(), self._watcher.fileno()

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        times = (
            self._server.next_timer(),
            self._desk.next_timer(),
            self._try_again_ns,
        )
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def turn(self, ready: set[int]) -> None:
        """Do what there is to do."""
        now_ns = self._now().elapsed_ns
        if self._reloader.fileno() in ready:
            self._take_files()
        timer = self._server.next_timer()
        if self._server.fileno() in ready or (timer is not None and timer <= now_ns):
            self._server.turn(now_ns)
        self._desk.turn()
        if self._watcher.fileno() in ready:
            is_changed, is_blind = self._watcher.take()
            self._note_blindness(is_blind)
            if is_changed:
                self._read_again()
        if self._try_again_ns is not None and self._try_again_ns <= now_ns:
            self._read_again()

    def hung_up(self) -> None:
        """Read the files again, as SIGHUP asks."""
        self._desk.changes.reload(None, "SIGHUP")

    def files_note(self) -> FilesNote | None:
        """Return what came of reading the files again, as long as that matters."""
        note = self._files_note
        is_old = note is not None and not note.is_bad and not 0 <= self._now().wall_ns - note.at_ns < NEWS_NS
        return None if is_old else note

    def _read_again(self) -> None:
        """Read the files that are others by now; not if that was begun since."""
        self._try_again_ns = None
        if not self._desk.changes.is_reading and not self._engine.is_stopping:
            self._desk.changes.reload(None, WATCH)

    def _read_files(self) -> None:
        """Begin to read."""
        self._watcher.watch(None)
        self._try_again_ns = None
        self._reloader.start(limit_s=self._engine.settings.read_timeout_ns / SECOND_NS)

    def _take_files(self) -> None:
        """Put in force what was read, or say what is wrong with it."""
        reading = self._reloader.result()
        if reading.jobfile and (objection := self._objection(reading.jobfile)):
            reading = Reading(words=objection, summary=objection, code=EXIT_FAILED, seen=reading.seen)
        if reading.jobfile:
            self._poison.asked = Files(reading.jobfile.jobs)
            self._jobfile = reading.jobfile
            self._workers.forget_plans()
            self._workers.configure(reading.jobfile.settings)
            self._workers.keep(JOBS, dump(reading.jobfile))
            self._desk.changes.reloaded(reading.jobfile, reading.warnings)
            self._log_warnings(reading.warnings)
            self._set_trouble(None)
            self._poison.asked = None
        else:
            by = self._desk.changes.reload_failed(reading.words, code=reading.code)
            before = self._files_note
            # Nobody wants to read the same every minute.
            if by != WATCH or before is None or before.words != shortened(reading.words):
                _log_failure(by, reading.words)
                self._note(effects.SchedulerNoted("reload_failed", f"{reading.summary}, by {by}"))
                self._set_trouble(
                    FilesNote(self._now().wall_ns, reading.summary, shortened(reading.words), is_bad=True)
                )
        if not self._desk.changes.is_reading:
            self._watch(reading.seen)

    def _log_warnings(self, warnings: Iterable[tuple[str, str]]) -> None:
        """Log what will fail when jobs run, unless the last reload said so."""
        before, self._warned = self._warned, {words for _, words in warnings}
        for words in list(dict.fromkeys(words for _, words in warnings if words not in before))[:MOST_NAMED]:
            logger.warning("%s", words.partition("\n")[0])

    def _objection(self, jobfile: JobFile) -> str | None:
        known = self._poison.objection(Files(jobfile.jobs), self._now().wall_ns)
        return known or self._desk.changes.objection(jobfile)

    def _set_trouble(self, trouble: FilesNote | None) -> None:
        """Let it be known, to the next scheduler too, what is wrong with the files; None: they are right."""
        if trouble or self._files_note:
            kept = (trouble.at_ns, trouble.summary, trouble.words) if trouble else None
            self._workers.keep(FILES_TROUBLE, kept)
        self._files_note = trouble

    def _watch(self, seen: Seen | None) -> None:
        """Have it watched whether the files become others than those that were read, if that is wanted."""
        is_wanted = self._engine.settings.watch
        self._watcher.watch(seen if is_wanted else None)
        now_ns = self._now().elapsed_ns
        self._try_again_ns = now_ns + TRY_AGAIN_NS if is_wanted and seen is None else None

    def _note_blindness(self, is_blind: bool) -> None:
        """Say so when a look at the files does not come back: then nobody watches them."""
        if is_blind == self._is_blind:
            return
        self._is_blind = is_blind
        if is_blind:
            logger.error("the job files are %s", BLIND)
            self._note(effects.SchedulerNoted("watch_hangs", BLIND))
            if self._files_note is None or not self._files_note.is_bad:
                self._set_trouble(FilesNote(self._now().wall_ns, BLIND, BLIND, is_bad=True))
        else:
            logger.info("the job files are watched again")
            self._note(effects.SchedulerNoted("watch_goes_on"))
            if self._files_note is not None and self._files_note.summary == BLIND:
                self._set_trouble(None)

    def answer(self, answer: effects.Answer) -> None:
        """Tell who asked: what they wanted is durable."""
        self._desk.answer(answer)

    def tell(self, record: effects.Record | effects.Mark) -> None:
        """Take note of what is durable, for those who wait."""
        self._desk.tell(record)
        told = self._told.get(type(record))
        if told:
            told(record)

    def _jobs_taken(self, record: effects.JobsTaken) -> None:
        if record.by is not None:
            self._files_note = FilesNote(self._now().wall_ns, f"reload: {changes_in_words(record)}")

    def _once_over(self, _: effects.OnceOver) -> None:
        self._overs += 1
        if self._overs % MANY_OVER == 0:
            self._workers.forget_plans()  # those of commands that never come again

    def flush(self) -> None:
        """Send what people were told in this turn."""
        self._server.flush(self._now().elapsed_ns)

    def close(self) -> None:
        """Let everybody go."""
        self._server.close()
        self._reloader.close()
        self._watcher.close()


def _log_failure(by: str, words: str) -> None:
    """Log what is wrong with the files, a line of the report on a line."""
    logger.error("reload (%s): nothing was changed, the jobs are those from before:", by)
    for line in words.splitlines():
        logger.error("%s", line)
