"""How long do a fire and a lookup in the due queue take, compared with a bare heapq of tuples and a dict?

A fire is what the scheduler does at a wakeup: ask when the next key is due, take out the due keys, put them
back for their next slots. The floor of a fire pops and pushes a tuple, and cannot look up, move or remove;
the floor of a lookup is a dict. Times are distinct, so each fire takes out one key.
"""

from __future__ import annotations

import gc
import heapq
import random
import statistics
import time
from typing import TYPE_CHECKING

from harness import Figure, in_turn, main, paired_ratio, print_report

from taskman_cli.core.engine.queue import DueQueue

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS


class Queues:
    """The same jobs in our queue and in a bare heap; each method returns µs an operation."""

    def __init__(self, jobs: int, operations: int) -> None:
        # Seeded: every run of the benchmark does the same work.
        chance = random.Random(jobs)
        keys = [f"job-{number:07d}" for number in range(jobs)]
        first_due = [(key, chance.randrange(HOUR_NS)) for key in keys]
        self._period_ns = HOUR_NS
        self._operations = operations
        self._asked = chance.choices(keys, k=operations)
        self._queue: DueQueue[str] = DueQueue()
        self._queue.put_all(first_due)
        self._heap = [(due_ns, number, key) for number, (key, due_ns) in enumerate(first_due)]
        heapq.heapify(self._heap)
        self._map = dict(first_due)

    def fire_heap(self) -> float:
        heap, period_ns = self._heap, self._period_ns

        def fire() -> None:
            due_ns, number, key = heapq.heappop(heap)
            heapq.heappush(heap, (due_ns + period_ns, number, key))

        return self._timed(fire)

    def fire_queue(self) -> float:
        queue, period_ns = self._queue, self._period_ns

        def fire() -> None:
            due_ns = queue.next_due()
            assert due_ns is not None
            for key in queue.pop_due(due_ns):
                queue.put(key, due_ns + period_ns)

        return self._timed(fire)

    def look_up_map(self) -> float:
        return self._timed_look_ups(self._map.get)

    def look_up_queue(self) -> float:
        return self._timed_look_ups(self._queue.due_of)

    def _timed_look_ups(self, look_up: Callable[[str], int | None]) -> float:
        begun = time.perf_counter()
        for key in self._asked:
            look_up(key)
        return (time.perf_counter() - begun) / self._operations * 1e6

    def _timed(self, operation: Callable[[], None]) -> float:
        begun = time.perf_counter()
        for _ in range(self._operations):
            operation()
        return (time.perf_counter() - begun) / self._operations * 1e6


def measure(quick: bool) -> None:
    """Measure both operations at every size, floor and ours in turn."""
    table = [("operation", "jobs", "floor µs", "taskman µs", "ratio")]
    figures = []
    for jobs in (1_000, 100_000) if quick else (1_000, 100_000, 1_000_000):
        queues = Queues(jobs, operations=20_000 if quick else 50_000)
        # As the daemon does after loading: the collector need not look at the jobs again.
        gc.collect()
        gc.freeze()
        measured = in_turn(
            5,
            {
                "fire_floor": queues.fire_heap,
                "fire": queues.fire_queue,
                "look_up_floor": queues.look_up_map,
                "look_up": queues.look_up_queue,
            },
        )
        for operation in ("fire", "look_up"):
            ours, floor = measured[operation], measured[f"{operation}_floor"]
            ratio = paired_ratio(ours, floor)
            medians = f"{statistics.median(floor):.2f}", f"{statistics.median(ours):.2f}"
            table.append((operation, f"{jobs:,}", *medians, f"{ratio:.2f}"))
            figures.append(Figure(f"due_queue.{operation}_{jobs}", ratio))
        gc.unfreeze()
    print_report("the due queue against a bare heapq of tuples and a dict", table, figures)


if __name__ == "__main__":
    main(measure, __doc__)
