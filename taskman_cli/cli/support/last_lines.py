"""The last lines of the captured output of a run: what is said about it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from taskman_cli.cli.render import cut
from taskman_cli.cli.support.captured import CapturedFile
from taskman_cli.core.engine.runs import attempt_key
from taskman_cli.core.escapes import printable
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: The most lines that are shown, and the most bytes of them.
MOST_LINES = 10
_MOST_BYTES = 64 * 1024
_OPEN = (State.QUEUED, State.RUNNING)


class Tail(NamedTuple):
    """The last lines of the output of one attempt."""

    run: str
    task: str
    attempt: int
    lines: tuple[str, ...]


class Attempt(Protocol):
    """What has to be known of an attempt."""

    @property
    def task(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def begun_ns(self) -> int: ...


def last_lines(directory: Path, job: str, run: str, state: str, attempts: Iterable[Attempt]) -> Tail | None:
    """Return the last lines of the output that tells most of a run in a state; None: it has no output.

    First come attempts that ended as the run did, or still run, and of these the latest. Of a run that has
    ended, what others printed does not tell why.
    """
    attempts = list(attempts)
    if state not in _OPEN and any(one.state == state for one in attempts):
        attempts = [one for one in attempts if one.state == state]
    telling = sorted(attempts, key=lambda one: (one.state == state, one.begun_ns, one.number), reverse=True)
    for attempt in telling:
        path = directory / "output" / job / f"{attempt_key(run, attempt.task, attempt.number)}.log"
        try:
            data = _last_bytes(path, MOST_LINES)
        except OSError:
            continue  # it cannot be read: `log` says why
        lines = data.decode("utf-8", "surrogateescape").splitlines()[-MOST_LINES:]
        if any(line.strip() for line in lines):
            return Tail(run, attempt.task, attempt.number, tuple(lines))
    return None


def shown_lines(tail: Tail | None, *, width: int | None) -> Iterator[str]:
    """Yield the lines as people see them, after an empty one and a heading; None: they are not cut."""
    if tail is None:
        return
    whose = "its output" if tail.task == "main" else f"the output of {tail.task}"
    attempt = f", attempt {tail.attempt}" if tail.attempt > 1 else ""
    yield ""
    yield f"The last lines of {whose}{attempt}:"
    for line in tail.lines:
        shown = f"  | {printable(line.expandtabs())}".rstrip()
        yield shown if width is None else cut(shown, width)


def _last_bytes(path: Path, lines: int) -> bytes:
    file = CapturedFile.open(path)
    if file is None:
        return b""
    try:
        file.skip_to_last(lines)
        total = file.layout().total
        file.position = max(file.position, total - _MOST_BYTES)
        data = b""
        while len(data) < _MOST_BYTES and (more := file.read()):
            data += more
        return data
    finally:
        file.close()
