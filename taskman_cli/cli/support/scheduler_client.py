"""Send requests to the running scheduler, and wait for the ends of runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taskman_cli.cli.render import flush, note
from taskman_cli.control.client import connect
from taskman_cli.core.protocol import Wait
from taskman_cli.errors import ControlError, NotFound, SchedulerGone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from taskman_cli.control.client import Connection
    from taskman_cli.core.protocol import Request


def ask(directory: Path, request: Request) -> dict[str, Any]:
    """Send one request to the scheduler of a state directory, and return the reply."""
    with connect(directory) as connection:
        return connection.ask(request)


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


def _await_again(directory: Path, target: str, runs: Sequence[str], timeout_ns: int | None) -> dict[str, Any]:
    from taskman_cli.cli.support.ended_run import ended_run

    line: dict[str, Any] = {"runs": [], "timed_out": False}
    with connect(directory) as another:
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
