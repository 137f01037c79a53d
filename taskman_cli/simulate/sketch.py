"""Quantiles of many durations in little room: each is known to one percent."""

from __future__ import annotations

from math import ceil, exp, log

#: Neighbouring bounds differ by two percent, so the middle between them is right to one.
_STEP = log(1.02)


class Sketch:
    """A histogram with bounds that grow; how much it takes does not depend on how many were added."""

    __slots__ = ("_counts", "_nothing", "count", "total_ns", "worst_ns")

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.worst_ns = 0
        #: How many were 0, which most waits are.
        self._nothing = 0
        self._counts: dict[int, int] = {}

    def add(self, duration_ns: int) -> None:
        """Add a duration; one below 0 counts as 0."""
        self.count += 1
        if duration_ns <= 0:
            self._nothing += 1
            return
        self.total_ns += duration_ns
        if duration_ns > self.worst_ns:
            self.worst_ns = duration_ns
        index, counts = int(log(duration_ns) / _STEP), self._counts
        counts[index] = counts.get(index, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Add all durations of another one."""
        self.count += other.count
        self.total_ns += other.total_ns
        self.worst_ns = max(self.worst_ns, other.worst_ns)
        self._nothing += other._nothing
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count

    def quantile(self, share: float) -> int:
        """Return the duration that this share of all does not exceed; 0 if there are none."""
        left = ceil(share * self.count) - self._nothing
        if left <= 0:
            return 0
        for index in sorted(self._counts):
            left -= self._counts[index]
            if left <= 0:
                return min(self.worst_ns, int(exp((index + 0.5) * _STEP)))
        return self.worst_ns

    @property
    def mean_ns(self) -> float:
        """Return the mean; 0 if there are none."""
        return self.total_ns / self.count if self.count else 0.0
