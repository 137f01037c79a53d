"""What a command may use at most, as its job says."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from taskman_cli.core.sizes import exact_size


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
