"""What a job file says about an executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskman_cli.core.clock import SECOND_NS

#: The types that come with taskman, besides "local".
EXECUTOR_TYPES = ("ssh", "container", "python", "consumer")
#: The executor of jobs that name none: commands of the supervisor.
LOCAL = "local"


@dataclass(frozen=True, slots=True)
class ExecutorDefinition:
    """One table `[executors.NAME]`."""

    name: str
    #: One of EXECUTOR_TYPES, or the name of an entry point.
    type: str
    #: What only this type has: plain values, paths absolute.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Most attempts at a time on it; None: as many as the pool has seats.
    max_workers: int | None = None
    #: An attempt of which nothing is heard for so long is lost.
    lost_after_ns: int = 300 * SECOND_NS
