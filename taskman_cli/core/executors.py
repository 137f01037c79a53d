"""What a job file says about an executor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskman_cli.core.clock import SECOND_NS

#: The types that come with taskman, besides "local".
EXECUTOR_TYPES = ("ssh", "container", "dask", "python", "consumer")
#: The executor of jobs that name none: commands of the supervisor.
LOCAL = "local"
#: The key of a job or task that stands in place of its command: what type "python" calls.
CALL = "call"
#: How the resource is called that counts the attempts on an executor; no other one can have such a name.
_SEATS = "executor:"


@dataclass(frozen=True, slots=True)
class ExecutorDefinition:
    """One table `[executors.NAME]`."""

    name: str
    #: LOCAL, one of EXECUTOR_TYPES, or the name of an entry point.
    type: str
    #: What only this type has: plain values, paths absolute.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Most attempts at a time on it; None: as many as the pool has seats.
    max_workers: int | None = None
    #: An attempt of which nothing is heard for so long is lost.
    lost_after_ns: int = 300 * SECOND_NS


def seats_of(executor: str) -> str:
    """Return the name of the resource that counts the attempts on an executor."""
    return _SEATS + executor


def executor_of(resource: str) -> str:
    """Return the executor whose attempts a resource counts; "": it is a resource of the job files."""
    return resource.removeprefix(_SEATS) if resource.startswith(_SEATS) else ""


def kind_and_name(name: str, executors: Iterable[ExecutorDefinition]) -> str:
    """Say what carries something out: "ssh far"; if it is not defined any more, by its name alone."""
    kind = next((one.type for one in executors if one.name == name), "executor")
    return f"{kind} {name}"


def split_handle(handle: str) -> tuple[str, str]:
    """Return the executor of an attempt, and what it calls the attempt, from how that is on record."""
    executor, _, name = handle.partition("/")
    return executor, name
