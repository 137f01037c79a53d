"""What the statements of one transaction share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: SQL and its parameters.
Statement = tuple[str, tuple[Any, ...]]
#: Returns the last lines of what an attempt printed, and whether there was more: from job, run, task, number
#: and how many lines.
ReadOutput = Callable[[str, str, str, int, int], tuple[list[str], bool]]


def no_output(_job: str, _run: str, _task: str, _number: int, _lines: int) -> tuple[list[str], bool]:
    """Return no output, where none is at hand."""
    return [], False


class Turn(NamedTuple):
    """What the statements of one transaction share."""

    at_ns: int
    #: The wall clock less the elapsed one.
    offset_ns: int
    #: The last line of the journal so far.
    last_seq: int
    job_id: Callable[[str], int]
    read_output: ReadOutput = no_output
