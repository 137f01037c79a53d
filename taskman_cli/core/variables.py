"""Environments that share memory: those of thousands of jobs have most variables in common.

Each is an immutable mapping. They are compared and hashed by the sum of the hashes of their pairs, which is
cheap to compute for an environment that is derived from another.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

#: Sums are truncated to 64 bits.
_MASK = (1 << 64) - 1
#: The most layers; deeper ones are merged into one.
_DEEP = 8


def _hash(name: str, value: str) -> int:
    # Hashed as one string: sums of hashes of tuples collide if these share their parts.
    return hash(f"{name}\0{value}") & _MASK


class _Shared(Mapping[str, str]):
    """The base of both kinds of environments."""

    __slots__ = ()

    @abstractmethod
    def total(self) -> int:
        """Return the sum of the hashes of all pairs, which differs between processes."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, _Shared):
            return len(self) == len(other) and self.total() == other.total()
        return super().__eq__(other)

    def __hash__(self) -> int:
        return self.total()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


class Variables(_Shared):
    """Variables layered over others, which they override."""

    __slots__ = ("_depth", "_length", "_total", "below", "own")

    def __init__(self, own: Mapping[str, str], below: Mapping[str, str] | None = None) -> None:
        self.own = own
        self.below: Mapping[str, str] = {} if below is None else below
        depth: int = below._depth if isinstance(below, Variables) else 0
        if depth >= _DEEP:
            self.own, self.below, depth = dict(self.below) | dict(own), {}, 0
        self._depth: int = depth + 1
        self._length: int | None = None
        self._total: int | None = None

    def __getitem__(self, name: str) -> str:
        value = self.own.get(name)
        return self.below[name] if value is None else value

    def __iter__(self) -> Iterator[str]:
        yield from self.below
        for name in self.own:
            if name not in self.below:
                yield name

    def __len__(self) -> int:
        if self._length is None:
            self._length = len(self.below) + sum(name not in self.below for name in self.own)
        return self._length

    def total(self) -> int:
        """Return the sum of the hashes of all pairs, which differs between processes."""
        if self._total is None:
            below = self.below
            total = below.total() if isinstance(below, _Shared) else _total_of(below)
            if not below and isinstance(self.own, _Shared):
                total = self.own.total()
            else:
                for name, value in self.own.items():
                    total += _hash(name, value) - (_hash(name, below[name]) if name in below else 0)
            self._total = total & _MASK
        return self._total

    def __reduce__(self) -> tuple[Any, ...]:
        return Variables, (self.own, self.below or None)


class Assignments:
    """A sequence of assignments, of which later ones win."""

    __slots__ = ("_lengths", "_now", "_places", "_totals", "_values")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: list[str] = []
        #: For each name, the indexes of its assignments.
        self._places: dict[str, list[int]] = {}
        #: The number of names after each count of assignments.
        self._lengths = [0]
        self._totals = [0]
        self._now: Assigned | None = None
        for name, value in pairs:
            self.assign(name, value)

    def assign(self, name: str, value: str) -> None:
        """Add an assignment; environments returned before do not change."""
        self._places.setdefault(name, []).append(len(self._values))
        self._values.append(value)
        self._lengths.append(len(self._places))
        self._now = None

    def so_far(self) -> Assigned:
        """Return the environment of all assignments so far, independent of later ones."""
        if self._now is None:
            self._now = Assigned(self, len(self._values))
        return self._now

    def pairs(self) -> list[tuple[str, str]]:
        """Return all assignments in order."""
        placed = [(place, name) for name, places in self._places.items() for place in places]
        return [(name, self._values[place]) for place, name in sorted(placed)]

    def value(self, name: str, count: int) -> str | None:
        """Return the value of a name after the first `count` assignments."""
        places = self._places.get(name, [])
        index = bisect_left(places, count)
        return self._values[places[index - 1]] if index else None

    def names(self, count: int) -> Iterator[str]:
        """Return the names after the first `count` assignments, in order of first appearance."""
        found = takewhile(lambda item: item[1][0] < count, self._places.items())
        return (name for name, _ in found)

    def length(self, count: int) -> int:
        """Return the number of names after the first `count` assignments."""
        return self._lengths[count]

    def total(self, count: int) -> int:
        """Return the sum of the hashes of all pairs after the first `count` assignments."""
        if len(self._totals) <= count:
            before: dict[str, int] = {}
            total, totals = 0, [0]
            for name, value in self.pairs():
                hashed = _hash(name, value)
                total = (total + hashed - before.get(name, 0)) & _MASK
                before[name] = hashed
                totals.append(total)
            self._totals = totals
        return self._totals[count]

    def __reduce__(self) -> tuple[Any, ...]:
        return Assignments, (self.pairs(),)


class Assigned(_Shared):
    """The environment after the first `count` of some assignments."""

    __slots__ = ("assignments", "count")

    def __init__(self, assignments: Assignments, count: int) -> None:
        self.assignments = assignments
        self.count = count

    def __getitem__(self, name: str) -> str:
        value = self.assignments.value(name, self.count)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return self.assignments.names(self.count)

    def __len__(self) -> int:
        return self.assignments.length(self.count)

    def total(self) -> int:
        """Return the sum of the hashes of all pairs, which differs between processes."""
        return self.assignments.total(self.count)

    def __reduce__(self) -> tuple[Any, ...]:
        return Assigned, (self.assignments, self.count)


def _total_of(plain: Mapping[str, str]) -> int:
    return sum(_hash(name, value) for name, value in plain.items())
