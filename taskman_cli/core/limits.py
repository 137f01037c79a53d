"""What a command may use at most, as its job says."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from taskman_cli.core.sizes import exact_size

#: Linux gives no program a longer argument, nor a longer variable with its name (MAX_ARG_STRLEN, without the
#: NUL at its end).
MOST_ARGUMENT_BYTES = (128 << 10) - 1
#: No character has more bytes.
_MOST_CHARACTER_BYTES = 4


def excess(text: str) -> str:
    """Return what is wrong with an argument or variable that is too long for a program; "": nothing is."""
    if len(text) * _MOST_CHARACTER_BYTES <= MOST_ARGUMENT_BYTES:  # as nearly all are
        return ""
    count = len(text.encode("utf-8", "surrogateescape"))
    return f"longer than {MOST_ARGUMENT_BYTES:,} bytes, the limit of the system" * (
        count > MOST_ARGUMENT_BYTES
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """The key `limits`. None: no limit."""

    #: Of all its processes together.
    memory_bytes: int | None = None
    #: How many CPUs it may use, on average.
    cpu: float | None = None
    #: Processes and threads.
    processes: int | None = None
    #: Of each of its processes.
    open_files: int | None = None
    core_size_bytes: int | None = None

    def as_plain(self) -> dict[str, Any]:
        """Return the limits that are set by the names that the job file has."""
        if self is UNLIMITED:
            return {}
        values = {field.name.removesuffix("_bytes"): getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


#: No limits.
UNLIMITED = Limits()
#: What the end of a command says that used more memory than it may.
OVER_MEMORY = "over its memory limit"


def over_memory(limit_bytes: int) -> str:
    """Say that a command used more memory than it may."""
    return f"{OVER_MEMORY} of {exact_size(limit_bytes)}"
