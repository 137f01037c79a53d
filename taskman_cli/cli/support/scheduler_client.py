"""Send requests to the running scheduler, and wait for the ends of runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from taskman_cli.cli.render import flush, note
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Wait
from taskman_cli.errors import EXIT_USAGE, ControlError, NotFound, SchedulerGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from taskman_cli.control.client import Connection
    from taskman_cli.core.protocol import ListJobs, Request

T = TypeVar("T")

#: How long to wait for the next scheduler: longer than other commands, since we wait anyway.
_NEXT_S = 30.0
#: What a scheduler of an earlier version says of a parameter.
_UNKNOWN = "has no parameter"
#: How often the ledger is read while a run is waited for that has no id yet.
_LOOK_S = 0.2


def ask(directory: Path, request: Request) -> dict[str, Any]:
    """Send one request to the scheduler of a state directory, and return the reply."""
    with connect(directory) as connection:
        return connection.ask(request)


def list_jobs(connection: Connection, request: ListJobs, each: Callable[[dict[str, Any]], T]) -> list[T]:
    """Return what `each` makes of each job that a request lists, while more of them come.

    What a brief list leaves out is there. A scheduler of an earlier version sends more of each job.
    """
    if request.brief:
        from taskman_cli.core.engine.answers import FIELDS

        empty = {name: FIELDS[name] for name in request.fields or FIELDS}
    else:
        empty = {}
    try:
        found: list[T] = connection.ask(request, each=lambda job: each(empty | job))["jobs"]
    except ControlError as error:
        if error.exit_code != EXIT_USAGE or _UNKNOWN not in str(error) or request.after is not None:
            raise
        older = replace(request, fields=[], limit=None, brief=False)
        found = connection.ask(older, each=each)["jobs"]
        return found[: request.limit]
    return found


class Answer(NamedTuple):
    """The answer to a request about a run or a job."""

    #: The id of the run, written out, or the name of the job.
    target: str
    reply: dict[str, Any]
    #: How the run ended, if it was over before the request; then `reply` is empty.
    end: dict[str, Any] | None = None


def ask_about(
    connection: Connection, directory: Path, target: str, request: Callable[..., Request]
) -> Answer:
    """Ask the scheduler about a run or a job; it may be the beginning of a run's id.

    Of a run that is over, or of a one-off job that has run, the answer is how it ended.
    """
    try:
        return Answer(target, connection.ask(request(target=target)))
    except ControlError as error:
        if error.exit_code != NotFound.exit_code:
            raise
        from taskman_cli.cli.support.ended_run import ended_once, ended_run
        from taskman_cli.cli.support.run_ids import run_on_record

        run = run_on_record(directory, target)
        if run is None:
            if end := ended_once(directory, target):
                return Answer(target, {}, end)
            raise
        if run != target:
            try:
                return Answer(run, connection.ask(request(target=run)))
            except ControlError as another:
                if another.exit_code != NotFound.exit_code:
                    raise
        end = ended_run(directory, run)
        if end is None:
            raise
        return Answer(run, {}, end)


def await_ends(
    connection: Connection,
    directory: Path,
    target: str,
    *,
    runs: Sequence[str],
    timeout_ns: int | None = None,
) -> dict[str, Any]:
    """Wait for the last line of a reply, which has the ends of one or more runs, as `runs`.

    If the scheduler exits meanwhile (`taskman restart`, a crash), ask the next one to wait for `target`; of
    the given `runs`, those that ended in between are read from the ledger.
    """
    flush()
    try:
        line = _final(connection)
    except SchedulerGone:
        note("the scheduler exited meanwhile; asking the new one")
        line = _await_again(directory, target, runs, timeout_ns)
    return line if "runs" in line else line | {"runs": [line]}


def await_end(connection: Connection, directory: Path, target: str) -> dict[str, Any]:
    """Wait for the end of a run, or of the one run of a job, as `await_ends` does, and return it."""
    ends: list[dict[str, Any]] = await_ends(connection, directory, target, runs=[target])["runs"]
    if not ends:
        raise ControlError(f"{target} has ended, but its result is unknown: see taskman history")
    return ends[-1]


def await_begin(
    connection: Connection, directory: Path, job: str
) -> tuple[str | None, dict[str, Any] | None]:
    """Wait for the run of a one-off job to be queued; return it, and how it ended if it has.

    The connection is one that tells the end. The run is None if the job was cancelled before its time.
    """
    flush()
    before = _latest_run(directory, job)
    while True:
        try:
            line = connection.read(_LOOK_S)
        except TimeoutError:
            run = _latest_run(directory, job)
            if run is not None and run != before:
                return run, None
        except SchedulerGone:
            note("the scheduler exited meanwhile; asking the new one")
            end: dict[str, Any] = _await_again(directory, job, [job], None)["runs"][-1]
            return end["run"], end
        else:
            if line.get("final"):
                end = line["runs"][-1] if "runs" in line else line
                return end["run"], end


def _latest_run(directory: Path, job: str) -> str | None:
    """Return the latest recorded run of a job, if it has one."""
    from taskman_cli.core.engine.runs import encode_run_id
    from taskman_cli.ledger.queries.attempts import latest_run
    from taskman_cli.ledger.queries.reader import find_job, reading

    with reading(directory) as ledger:
        found = find_job(ledger, job)
        run = None if found is None else latest_run(ledger, found.id)
    return None if run is None else encode_run_id(run)


def _await_again(directory: Path, target: str, runs: Sequence[str], timeout_ns: int | None) -> dict[str, Any]:
    from taskman_cli.cli.support.ended_run import ended_run

    line: dict[str, Any] = {"runs": [], "timed_out": False}
    with connect(directory, patience_s=_NEXT_S) as another:
        try:
            another.ask(Wait(target=target, timeout_ns=timeout_ns))
            line = _final(another)
        except ControlError as error:
            if error.exit_code != NotFound.exit_code:
                raise
    if line["timed_out"]:
        return line
    told = {end["run"] for end in line["runs"]}
    # If `target` is the name of a job, its run is among those told already, if it had one.
    unheard = [run for run in runs if run not in told and not (run == target and told)]
    found = [ended_run(directory, run) for run in unheard]
    return line | {"runs": [*(end for end in found if end is not None), *line["runs"]]}


@contextmanager
def note_if_interrupted(words: str) -> Iterator[None]:
    """Print a message on Ctrl-C: the request is carried out anyway."""
    try:
        yield
    except KeyboardInterrupt:
        note(words)
        raise


def _final(connection: Connection) -> dict[str, Any]:
    while True:
        line = connection.read()
        if line.get("final"):
            return line
