"""The due queue: a heap of times and the map that mirrors it.

The map is the truth, the heap only finds the earliest: an entry of the heap counts while the map holds that
very entry. So looking up a key touches no heap, and moving or removing one is a write to the map plus at
most one push; what is stale in the heap is dropped when it comes to the top, or all at once when it
outnumbers what is live. Cost of each operation: O(log n), amortised over the compactions; `first(k)` is O(k
log k).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

K = TypeVar("K")

#: Stale heap entries that are always tolerated, so that a small queue is never rebuilt.
_SLACK = 64


class DueQueue(Generic[K]):
    """Keys with the time each is due, in the order of time, then of being put in."""

    __slots__ = ("_entries", "_heap", "_most", "_sequence")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, K]] = []
        self._entries: dict[K, tuple[int, int, K]] = {}
        self._sequence = 0
        #: The heap is looked at when it is longer than this.
        self._most = _SLACK

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def due_of(self, key: K) -> int | None:
        """Return when `key` is due, or None."""
        entry = self._entries.get(key)
        return entry[0] if entry else None

    def put(self, key: K, due_ns: int, *, place: int | None = None) -> None:
        """Add `key`, or move it; among equal times it goes last, or before those of a higher `place`."""
        if place is None:
            place = self._sequence + 1
        self._sequence = place
        entry = self._entries[key] = (due_ns, place, key)
        heap = self._heap
        heappush(heap, entry)
        if len(heap) > self._most:
            self._most = 2 * len(self._entries) + _SLACK
            if len(heap) > self._most:
                self._rebuild()

    def put_all(self, items: Iterable[tuple[K, int]]) -> None:
        """Do `put` for each of `items`; O(n) for a queue that is empty."""
        for key, due_ns in items:
            self._sequence += 1
            self._entries[key] = (due_ns, self._sequence, key)
        self._rebuild()

    def remove(self, key: K) -> int | None:
        """Take `key` out and return when it was due, or None."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        heap = self._heap
        if len(heap) > _SLACK and len(heap) > 2 * len(self._entries) + _SLACK:
            self._rebuild()
        return entry[0]

    def next_due(self) -> int | None:
        """Return the earliest time at which a key is due, or None."""
        heap, entries = self._heap, self._entries
        while heap:
            first = heap[0]
            if entries.get(first[2]) is first:
                return first[0]
            heappop(heap)
        return None

    def head(self) -> tuple[int, int] | None:
        """Return time and place of the earliest key, or None."""
        return None if self.next_due() is None else self._heap[0][:2]

    def is_due(self, now_ns: int) -> bool:
        """Tell whether there may be a key that is due by now: if not, there is none."""
        heap = self._heap
        return bool(heap) and heap[0][0] <= now_ns

    def peek(self) -> K | None:
        """Return the earliest key, and leave it in; or None."""
        heap = self._heap
        if heap and self._entries.get(heap[0][2]) is heap[0]:
            return heap[0][2]
        return None if self.next_due() is None else heap[0][2]

    def pop_due(self, now_ns: int) -> list[K]:
        """Take out all keys due at or before `now_ns`, in order."""
        due: list[K] = []
        heap, entries = self._heap, self._entries
        while heap and heap[0][0] <= now_ns:
            entry = heappop(heap)
            key = entry[2]
            if entries.get(key) is entry:
                del entries[key]
                due.append(key)
        return due

    def pop(self) -> K | None:
        """Take out the earliest key, or return None."""
        heap, entries = self._heap, self._entries
        while heap:
            entry = heappop(heap)
            key = entry[2]
            if entries.get(key) is entry:
                del entries[key]
                return key
        return None

    def first(self, count: int) -> list[tuple[int, K]]:
        """Return (due, key) of the `count` earliest keys, in order, and take nothing out."""
        return list(islice(self.walk(), count))

    def first_placed(self, count: int) -> list[tuple[int, int, K]]:
        """Return (due, place, key) of the `count` earliest keys, in order, and take nothing out."""
        return [self._entries[key] for _, key in islice(self.walk(), count)]

    def walk(self) -> Iterator[tuple[int, K]]:
        """Yield (due, key) in order, and take nothing out; the queue must not change meanwhile."""
        heap = self._heap
        # A walk from the root: an entry can only be next once its parent has been passed.
        frontier = [(*heap[0][:2], 0)] if heap else []
        while frontier:
            index = heappop(frontier)[2]
            entry = heap[index]
            if not self._is_stale(entry):
                yield entry[0], entry[2]
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heappush(frontier, (*heap[child][:2], child))

    def _is_stale(self, entry: tuple[int, int, K]) -> bool:
        return self._entries.get(entry[2]) is not entry

    def _rebuild(self) -> None:
        self._heap = list(self._entries.values())
        heapify(self._heap)


# These two are asked at each turn, so they look into the heaps: most are empty.


def earliest_due(queues: Iterable[DueQueue[str]]) -> int | None:
    """Return the earliest time at which a key of one of these queues is due, or None."""
    found: int | None = None
    for queue in queues:
        if heap := queue._heap:
            first = heap[0]
            due_ns = first[0] if queue._entries.get(first[2]) is first else queue.next_due()
            if due_ns is not None and (found is None or due_ns < found):
                found = due_ns
    return found


def is_any_due(queues: Iterable[DueQueue[str]], now_ns: int) -> bool:
    """Tell whether there may be a key in one of these queues that is due by now: if not, there is none."""
    for queue in queues:  # noqa: SIM110
        if (heap := queue._heap) and heap[0][0] <= now_ns:
            return True
    return False
