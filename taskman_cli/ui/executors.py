"""What is said of executors in one line: how each stands, what is on it, and the workers beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.conditions import Reach
from taskman_cli.core.sizes import format_size
from taskman_cli.ui.amounts import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.core.conditions import FarWorker
    from taskman_cli.core.engine.view import ExecutorRow

#: Nothing can begin on an executor then.
AWAY = (Reach.CONNECTING, Reach.DOWN)


class Amounts(NamedTuple):
    """What one far worker has, or all of them, whoever tells it."""

    running: int
    slots: int
    memory_bytes: int
    resources: Mapping[str, float]


def amounts_of(worker: FarWorker) -> Amounts:
    """Return what a far worker has."""
    return Amounts(worker.running, worker.slots, worker.memory_bytes, dict(worker.resources))


def executor_words(rows: Sequence[ExecutorRow], elapsed_ns: int) -> list[tuple[str, bool]]:
    """Return a few words on each executor but `local`, and whether it is away, those first."""
    found = []
    for row in rows[1:]:
        is_away = row.reach in AWAY
        since_ns = None if row.since_elapsed_ns is None else elapsed_ns - row.since_elapsed_ns
        words = [state_words(row.reach, since_ns), load_words(row.running, row.max_workers, row.waiting)]
        if row.workers is not None:
            words.append(workers_words(row.workers.count, amounts_of(row.workers.total)))
        if is_away and row.words:
            words.append(row.words)
        found.append((f"{row.name} {', '.join(filter(None, words))}", is_away))
    return sorted(found, key=lambda one: not one[1])


def state_words(reach: str, since_ns: int | None) -> str:
    """Say how an executor stands, and if it is away, for how long: "down for 3m 05s"."""
    if reach not in AWAY or since_ns is None:
        return str(reach)
    return f"{reach} for {span(since_ns)}"


def load_words(running: int, most: int | None, waiting: int) -> str:
    """Say what is on an executor: "3 of 8 running, 2 waiting"."""
    of = "" if most is None else f" of {most:,}"
    return f"{running:,}{of} running" + (f", {waiting:,} waiting" if waiting else "")


def workers_words(count: int, total: Amounts) -> str:
    """Say what there is beyond an executor: "3 workers (5 of 12 slots, 8.0GB, gpu 2)"."""
    about = []
    if total.slots:
        about.append(f"{total.running:,} of {total.slots:,} slots")
    if total.memory_bytes:
        about.append(format_size(total.memory_bytes))
    about += [f"{name} {amount:g}" for name, amount in total.resources.items()]
    return f"{count:,} {'worker' if count == 1 else 'workers'}" + (f" ({', '.join(about)})" if about else "")
