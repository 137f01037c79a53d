"""What came of reading the job files again, for people."""

from __future__ import annotations

from dataclasses import dataclass

#: Lines of a report that are kept; whoever has more to fix asks `taskman check`.
MOST_LINES = 200


@dataclass(frozen=True, slots=True)
class FilesNote:
    """Good news or bad of the job files."""

    at_ns: int
    #: In one line.
    summary: str
    #: All of it, in lines.
    words: str = ""
    #: They could not be taken: what was in force before still is.
    is_bad: bool = False


def shortened(words: str) -> str:
    """Cut a report that is longer than anybody reads."""
    lines = words.splitlines()
    if len(lines) <= MOST_LINES:
        return words
    return "\n".join([*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES:,} more lines"])
