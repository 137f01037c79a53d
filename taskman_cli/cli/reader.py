"""`python -m taskman_cli.cli.reader [FRESH [KNOWN]]`: read job files for the scheduler in another process.

Standard input is a JSON object with the arguments of `load`, with `start`, the directory of relative paths,
and with `parent`, the pid of the scheduler. FRESH is a descriptor for the dump of the jobs, KNOWN one of that
of the jobs so far: see `encode`. Standard output gets the `Reading`. The scheduler cannot do this
itself: thousands of jobs take most of a second, and a hung file system never answers.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from taskman_cli.cli.support.findings import place
from taskman_cli.cli.support.preflight import NAMES, look_for_missing
from taskman_cli.errors import EXIT_FAILED, TaskmanError
from taskman_cli.jobfile import JobFile, JobFileError
from taskman_cli.jobfile.fingerprint import Seen, file_at, look
from taskman_cli.jobfile.programs import load_to_run
from taskman_cli.jobfile.source import Source
from taskman_cli.jobfile.timeout import NoThread, ReadTimeout
from taskman_cli.scheduler.requests.reload import Reading, encode
from taskman_cli.trust import Trust

_PR_SET_PDEATHSIG = 1
#: To find the places of many takes longer than all the rest; nobody reads them all.
_MOST_WARNINGS = 1_000
#: With more the scheduler would have to log, keep and answer megabytes.
_MOST_ERRORS = 100


def main() -> int:
    """Read the job files, and write the result to standard output."""
    arguments = json.loads(sys.stdin.buffer.read())
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != arguments.pop("parent"):  # it ended before prctl took effect
        return EXIT_FAILED
    sys.stdout.buffer.write(encode(_read(arguments), *map(int, sys.argv[1:3])))
    sys.stdout.flush()
    for fd in (1, 2):
        os.close(fd)
    # A thread that waits for a hung file cannot be ended: exit without joining it.
    os._exit(0)


def _read(arguments: dict[str, Any]) -> Reading:
    start = arguments.pop("start")
    seen: Seen = {file_at(start): look(file_at(start))}
    try:
        files = [Path(name) for name in arguments.pop("files")]
        _enter(start, [*files, *map(Path, arguments["user_crontabs"])])
        sources: list[Source] = []
        arguments["trust"] = Trust.from_json(arguments["trust"])
        arguments["timeout_s"] = arguments.pop("patience_s")  # as version 0.1 calls it
        jobfile = load_to_run(files, **arguments, now_ns=time.time_ns(), seen=seen, sources=sources)
    except JobFileError as error:
        looked_at = None if isinstance(error, ReadTimeout) else seen
        first, *others = (problem.headline() for problem in error.problems)
        summary = first + (f" (and {len(others):,} more)" if others else "")
        return Reading(words=_words(error), summary=summary, code=error.exit_code, seen=looked_at)
    except TaskmanError as error:
        looked_at = None if isinstance(error, NoThread) else seen
        return Reading(words=str(error), summary=str(error), code=error.exit_code, seen=looked_at)
    return Reading(jobfile, seen=seen, warnings=tuple(islice(_warnings(jobfile, sources), _MOST_WARNINGS)))


def _words(error: JobFileError) -> str:
    """Return the problems, and if they are many only the first."""
    if (more := len(error.problems) - _MOST_ERRORS) <= 0:
        return error.render()
    shown = [problem.render() for problem in error.problems[:_MOST_ERRORS]]
    return "\n".join([*shown, f"and {more:,} more errors, which `taskman check` shows"])


def _warnings(jobfile: JobFile, sources: list[Source]) -> Iterator[tuple[str, str]]:
    """Yield the warnings about what will fail when jobs run, each with its job."""
    missing = look_for_missing(jobfile.jobs)
    told = set()
    for finding in missing.findings:
        for placed in place([finding], sources):
            # A warning about the defaults concerns many jobs: report it once.
            if placed.name in NAMES and placed.problem not in told:
                told.add(placed.problem)
                yield finding.job, placed.render()
    if missing.hangs:
        yield "", f"not everything could be checked: {missing.hangs} does not answer"


def _enter(start: str, paths: list[Path]) -> None:
    """Change to the directory in which taskman was started; it may have been removed and created again."""
    try:
        os.chdir(start)
    except OSError as error:
        os.chdir("/")
        relative = next((path for path in paths if not path.is_absolute()), None)
        if relative is not None:
            raise TaskmanError(
                f"{relative} cannot be read: taskman was started in {start}, and that directory is no "
                f"longer accessible ({error.strerror}): create it again, or start taskman in another one"
            ) from None


if __name__ == "__main__":
    sys.exit(main())
