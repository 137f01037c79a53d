"""All that lets people in: the control socket, the desk behind it, and the reading of changed job files.

One part of the scheduler's loop, which registers its descriptors and gives it its turns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.control.server import ControlServer
from taskman_cli.core import effects
from taskman_cli.core.inforce import REFUSED
from taskman_cli.desk import Desk
from taskman_cli.jobfile import JobFile
from taskman_cli.jobfile.carried import dump
from taskman_cli.logs import logger
from taskman_cli.reloading import Look, Reloader, look_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core import events
    from taskman_cli.core.engine import Engine
    from taskman_cli.core.model import Now
    from taskman_cli.desk import Program
    from taskman_cli.workers import Workers

SOCKET = "taskman.sock"
#: Value kept for the next scheduler: the definitions. The supervisor keeps up to 16 MB, some 200,000 jobs;
#: more are read anew.
JOBS = "jobfile"
#: Under this name version 0.1 kept a pickle, which no other version can read.
OLD_JOBS = "jobs"
#: With `watch = true` the files are looked at this often.
WATCH_NS = 2_000_000_000
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
        arguments: dict[str, Any],
        workers: Workers,
    ) -> None:
        """Open the socket; `arguments` are those that the job files were loaded with."""
        self._program = program
        self._jobfile = jobfile
        self._hidden = hidden
        self._last_once = last_once
        self._workers = workers
        self._reloader = Reloader(arguments)
        self._desk: Desk
        self._now: Callable[[], Now]
        self._server = ControlServer(
            Path(program.state_directory) / SOCKET,
            os.geteuid(),
            lambda request, client: self._desk.handle(request, client),
        )
        #: How the files looked when they were read last, or when that was begun; None: nobody wants to know.
        self._look: Look | None = None
        self._look_before: Look = ()
        self._overs = 0
        self._look_again_ns: int | None = None

    def attach(
        self,
        engine: Engine,
        *,
        give: Callable[[events.Event], None],
        now: Callable[[], Now],
        trouble: Callable[[], str | None],
    ) -> None:
        """Become a part of a loop."""
        self._now = now
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
        )
        self._watch_files(self._jobfile, look_at(self._watched(self._jobfile)))

    def filenos(self) -> tuple[int, int]:
        """Return the descriptors to wait on."""
        return self._server.fileno(), self._reloader.fileno()

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        times = (self._server.next_timer(), self._desk.next_timer(), self._look_again_ns)
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
        if self._look_again_ns is not None and self._look_again_ns <= now_ns:
            self._look_again_ns = now_ns + WATCH_NS
            look = look_at(self._watched(self._jobfile))
            # One that is not there is on its way: an editor renames, Kubernetes swaps a link.
            if look != self._look and None not in look:
                self._look = look
                self._desk.changes.reload(None, "watch")

    def hung_up(self) -> None:
        """Read the files again, as SIGHUP asks."""
        self._desk.changes.reload(None, "SIGHUP")

    def _read_files(self) -> None:
        """Begin to read: what is written to the files from here on may be missed."""
        self._look_before = look_at(self._watched(self._jobfile))
        self._reloader.start()

    def _take_files(self) -> None:
        result = self._reloader.result()
        if isinstance(result, JobFile) and (objection := self._desk.changes.objection(result)):
            result = (objection, REFUSED)
        if isinstance(result, JobFile):
            look, before = self._look_before, self._jobfile
            self._jobfile = result
            self._workers.forget_plans()
            self._workers.configure(result.settings)
            self._workers.keep(JOBS, dump(result))
            self._desk.changes.reloaded(result)
            if self._watched(before) != self._watched(result):
                look = look_at(self._watched(result))
            self._watch_files(result, look)
        else:
            words, code = result
            logger.error("reload: nothing was changed:\n%s", words)
            self._desk.changes.reload_failed(words, code=code)

    def _watch_files(self, jobfile: JobFile, look: Look) -> None:
        self._look, self._look_again_ns = None, None
        if jobfile.settings.watch:
            self._look, self._look_again_ns = look, self._now().elapsed_ns + WATCH_NS

    def _watched(self, jobfile: JobFile) -> list[str]:
        """Return what is looked at: the files, and the directories in which others may come to be."""
        given = self._program.files
        included = [path for path in jobfile.files if str(path) not in given]
        return [*given, *map(str, included), *sorted({str(path.parent) for path in included})]

    def answer(self, answer: effects.Answer) -> None:
        """Tell who asked: what they wanted is durable."""
        self._desk.answer(answer)

    def tell(self, record: effects.Record | effects.Mark) -> None:
        """Take note of what is durable, for those who wait."""
        self._desk.tell(record)
        if isinstance(record, effects.OnceOver):
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
