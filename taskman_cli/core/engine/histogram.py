"""How long things take, as counts by upper bound: constant size, whatever is observed."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterable


class Histogram:
    """Counts lengths of time by their upper bound."""

    __slots__ = ("bounds_ns", "counts", "total_ns")

    def __init__(self, bounds_s: Iterable[float]) -> None:
        self.bounds_ns = [round(bound_s * SECOND_NS) for bound_s in bounds_s]
        #: Those at or below each bound and above the one before it; last, those above all.
        self.counts = [0] * (len(self.bounds_ns) + 1)
        self.total_ns = 0

    def observe(self, length_ns: int) -> None:
        """Count one length of time; a clock that went back makes it 0."""
        if length_ns < 0:
            length_ns = 0
        self.counts[bisect_left(self.bounds_ns, length_ns)] += 1
        self.total_ns += length_ns

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"bounds_ns": self.bounds_ns, "counts": self.counts, "total_ns": self.total_ns}
