"""The scheduler's composition root: reads the jobs, wires the parts together; the only reader of clocks."""

from __future__ import annotations

import gc
import logging
import os
import pickle
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from taskman_cli.core.engine import Engine
from taskman_cli.core.model import Now, Output
from taskman_cli.daemon_options import Options
from taskman_cli.environment import Environments
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.logs import LineFormatter, LineHandler, logger, skip_what_no_line_shows
from taskman_cli.loop import ANCHOR, Loop
from taskman_cli.outputs import Outputs
from taskman_cli.supervisor.wire import FD_VARIABLE, Channel
from taskman_cli.workers import SHELL, Hello, SupervisorGone, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.jobfile import JobFile
    from taskman_cli.ui.live import LiveView

#: Value kept for the next scheduler: the definitions. The supervisor keeps up to 16 MB, some 200,000 jobs;
#: more are read anew.
_JOBS = "jobs"


def read_clocks() -> Now:
    """Read both clocks."""
    return Now(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def main(arguments: list[str]) -> int:
    """Be the scheduler of the supervisor that started this process."""
    options = Options.from_json(arguments[0])
    workers_socket = socket.socket(fileno=int(os.environ[FD_VARIABLE]))
    os.set_inheritable(workers_socket.fileno(), False)
    try:
        cwd = str(Path.cwd())
    except FileNotFoundError:  # removed since: jobs with a directory of their own need not care
        cwd = os.environ.get("PWD", "/")
    outputs = Outputs(Path(options.state_directory) / "output")
    workers = Workers(
        Channel(workers_socket),
        outputs=outputs,
        environments=Environments(os.environ, cwd=cwd),
        cwd=cwd,
        shell_name=Path(SHELL).resolve().name,
    )
    try:
        hello = workers.greet()
        return _serve(options, hello, workers, outputs)
    except SupervisorGone:
        return 1
    except JobFileError as error:
        problem, code = error.render(), error.exit_code
        if hello.attempts or ANCHOR in hello.kept:
            # It was good when the program started, and too large to be kept. Commands must not lose their
            # scheduler for a bad edit: without a word to the supervisor, this process is started again.
            _write_stderr(f"{problem}\ntaskman: waiting for the job file to be mended")
            return code
    except TaskmanError as error:
        problem, code = error.render(), error.exit_code
    workers.exit(code)
    workers.drain()
    _write_stderr(problem)
    return code


def _serve(options: Options, hello: Hello, workers: Workers, outputs: Outputs) -> int:
    """Load the jobs, set up view and log, and run the loop."""
    jobfile = _definition(options, hello, workers)
    # What is loaded lives as long as the process: the collector need never look at it again.
    gc.collect()
    gc.freeze()
    timezone = ZoneInfo(jobfile.timezone)
    inherits = any(task.execution.output is Output.INHERIT for job in jobfile.jobs for task in job.tasks)
    view = _open_view(timezone) if options.is_live and not inherits else None
    skip_what_no_line_shows()
    handler = LineHandler(_line_printer(view))
    handler.setFormatter(LineFormatter(timezone))
    logger.addHandler(handler)
    logger.setLevel(options.log_level.upper())
    if options.is_live and inherits:
        # Their output would be drawn over.
        logger.setLevel(min(logger.level, logging.INFO))
        logger.warning('there are jobs with output = "inherit": no live view, but lines')
    try:
        loop = Loop(
            Engine(jobfile.settings), workers, outputs, clocks=read_clocks, view=view, timezone=timezone
        )
        loop.begin(jobfile.jobs, hello, options)
        return loop.run()
    finally:
        outputs.close()
        if view:
            view.close()
        logger.removeHandler(handler)
        handler.close()


def _definition(options: Options, hello: Hello, workers: Workers) -> JobFile:
    """Return the jobs as they were when the program started: an edit alone changes nothing."""
    kept = hello.kept.get(_JOBS)
    if kept is not None:
        jobfile: JobFile = pickle.loads(kept)  # noqa: S301 - our own, through our own supervisor
        return jobfile
    jobfile = load([Path(name) for name in options.files])
    workers.keep(_JOBS, pickle.dumps(jobfile))
    return jobfile


def _open_view(timezone: ZoneInfo) -> LiveView:
    from taskman_cli.ui.live import LiveView

    view = LiveView(stream=sys.stdout, timezone=timezone)
    view.start()
    return view


def _line_printer(view: LiveView | None) -> Callable[[list[str]], None]:
    """Return what writes lines of the log: above the view where there is one, else to standard error."""
    if view is None:
        return lambda lines: _write_stderr("\n".join(lines))

    def show(lines: list[str]) -> None:
        for line in lines:
            view.print(line)

    return show


def _write_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
