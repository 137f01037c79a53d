"""The last lines of the captured output of a run: what is said about it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.cli.support.captured import CapturedFile
from taskman_cli.core.engine.runs import attempt_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: The most lines that are shown, and the most bytes of them.
MOST_LINES = 10
_MOST_BYTES = 64 * 1024


class Tail(NamedTuple):
    """The last lines of the output of one attempt."""

    run: str
    task: str
    attempt: int
    lines: tuple[str, ...]


def last_lines(
    directory: Path, job: str, run: str, attempts: Iterable[tuple[str, int]], *, most: int = MOST_LINES
) -> Tail | None:
    """Return the last lines of the first of some attempts, as (task, number), that has output."""
    for task, number in attempts:
        path = directory / "output" / job / f"{attempt_key(run, task, number)}.log"
        try:
            data = _last_bytes(path, most)
        except OSError:
            continue  # it cannot be read: `log` says why
        lines = data.decode("utf-8", "surrogateescape").splitlines()[-most:]
        if any(line.strip() for line in lines):
            return Tail(run, task, number, tuple(lines))
    return None


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
