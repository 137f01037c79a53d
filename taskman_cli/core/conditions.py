"""How an executor itself stands: whether attempts can begin on it now, and the far workers that it has."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any

from taskman_cli.core.immutable import immutable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The most far workers that are named, however many there are.
MOST_NAMED = 16
#: The most resources of one far worker, and of all, that are named.
MOST_RESOURCES = 8
#: The most characters of a name, and of the reason.
_NAME_MOST, _WORDS_MOST = 80, 500


class Reach(StrEnum):
    """Whether attempts can begin on an executor."""

    #: Nothing was asked of it yet.
    IDLE = "idle"
    UP = "up"
    CONNECTING = "connecting"
    DOWN = "down"


@immutable
class FarWorker:
    """One worker beyond an executor, or the sum of all."""

    name: str
    #: Attempts of this executor on it.
    running: int = 0
    #: How many it takes at a time; 0: not known.
    slots: int = 0
    #: How much memory it has; 0: not known.
    memory_bytes: int = 0
    #: What it declares to have, by name.
    resources: tuple[tuple[str, float], ...] = ()


@immutable
class FarWorkers:
    """The workers beyond an executor: how many, the sum of all, and the first of them one by one."""

    count: int
    total: FarWorker
    first: tuple[FarWorker, ...] = ()


@immutable
class Condition:
    """What an executor has said of itself."""

    reach: Reach
    #: Since when, on the elapsed clock.
    since_ns: int = 0
    #: Why nothing can begin on it; "": it can.
    words: str = ""
    #: None: it does not say, or has none.
    workers: FarWorkers | None = None


def sum_of(workers: Sequence[FarWorker]) -> FarWorkers:
    """Return what is told of any number of workers: sums, and the first by name."""
    resources: dict[str, float] = {}
    for worker in workers:
        for name, amount in worker.resources:
            resources[name] = resources.get(name, 0) + amount
    total = FarWorker(
        "",
        sum(worker.running for worker in workers),
        sum(worker.slots for worker in workers),
        sum(worker.memory_bytes for worker in workers),
        tuple(sorted(resources.items())),
    )
    return FarWorkers(len(workers), total, tuple(sorted(workers, key=lambda one: one.name)[:MOST_NAMED]))


def as_values(condition: Condition) -> dict[str, Any]:
    """Return a condition as plain data of bounded size, as it travels."""
    workers = condition.workers
    return {
        "reach": condition.reach.value,
        "since_ns": condition.since_ns,
        "words": condition.words[:_WORDS_MOST],
        "workers": workers
        and {
            "count": workers.count,
            "total": _worker_values(workers.total),
            "first": [_worker_values(worker) for worker in workers.first[:MOST_NAMED]],
        },
    }


def _worker_values(worker: FarWorker) -> dict[str, Any]:
    return {
        "name": worker.name[:_NAME_MOST],
        "running": int(worker.running),
        "slots": int(worker.slots),
        "memory_bytes": int(worker.memory_bytes),
        "resources": {
            str(name)[:_NAME_MOST]: float(amount) for name, amount in worker.resources[:MOST_RESOURCES]
        },
    }


def condition_of(values: Mapping[str, Any]) -> Condition:
    """Return the condition that plain data says; raises what Python does if it makes no sense."""
    workers = values.get("workers")
    return Condition(
        Reach(values["reach"]),
        int(values.get("since_ns", 0)),
        str(values.get("words", ""))[:_WORDS_MOST],
        workers
        and FarWorkers(
            int(workers["count"]),
            _worker_of(workers["total"]),
            tuple(_worker_of(one) for one in workers["first"][:MOST_NAMED]),
        ),
    )


def _worker_of(values: Mapping[str, Any]) -> FarWorker:
    return FarWorker(
        str(values.get("name", ""))[:_NAME_MOST],
        int(values.get("running", 0)),
        int(values.get("slots", 0)),
        int(values.get("memory_bytes", 0)),
        tuple(
            (str(name)[:_NAME_MOST], float(amount))
            for name, amount in [*dict(values.get("resources", {})).items()][:MOST_RESOURCES]
            if isfinite(amount)
        ),
    )
