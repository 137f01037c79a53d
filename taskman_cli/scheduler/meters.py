"""What the scheduler's own parts measure for monitoring: how full their queues are, and how late they are.

Each part that keeps something waiting registers it with `Depths.watch`; it then stands in the metrics, in
`status` and in the live view, with the most that was ever in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.histogram import Histogram
from taskman_cli.core.engine.view import Depth

if TYPE_CHECKING:
    from collections.abc import Callable

#: Upper bounds of the histograms, in seconds.
COMMITS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
LAGS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10)


class _Gauge:
    __slots__ = ("is_bytes", "most", "read")

    def __init__(self, read: Callable[[], int], *, is_bytes: bool) -> None:
        self.read = read
        self.is_bytes = is_bytes
        self.most = 0


#: The loop looks at the queues this often at most; so the first turn of a burst always does.
_LOOK_NS = 10_000_000


class Depths:
    """All queues and buffers by name."""

    def __init__(self) -> None:
        self._gauges: dict[str, _Gauge] = {}
        self._looked_ns = -_LOOK_NS

    def watch(self, name: str, read: Callable[[], int], *, is_bytes: bool = False) -> None:
        """Register a queue; `read` returns how much is in it, in well under a microsecond."""
        self._gauges[name] = _Gauge(read, is_bytes=is_bytes)

    def forget(self, name: str) -> None:
        """Take out a queue that does not exist any more."""
        self._gauges.pop(name, None)

    def turn(self, elapsed_ns: int) -> None:
        """Look at them in a turn of the loop, unless that was done just now."""
        if elapsed_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = elapsed_ns
            self.look()

    def look(self) -> None:
        """Note the depths that are the most so far."""
        for gauge in self._gauges.values():
            if (depth := gauge.read()) > gauge.most:
                gauge.most = depth

    def rows(self) -> list[Depth]:
        """Return all of them, in the order in which they were registered."""
        self.look()
        return [Depth(name, gauge.read(), gauge.most, gauge.is_bytes) for name, gauge in self._gauges.items()]


class Meters:
    """The measurements of one scheduler."""

    def __init__(self) -> None:
        self.depths = Depths()
        #: How long transactions of the ledger took.
        self.commits = Histogram(COMMITS_S)
        #: How late the loop came to what was due.
        self.lags = Histogram(LAGS_S)
        #: Log lines that were dropped, since nobody read them fast enough.
        self.read_dropped_lines: Callable[[], int] = lambda: 0

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "queues": self.depths.rows(),
            "ledger_commit": self.commits.as_json(),
            "loop_lag": self.lags.as_json(),
            "log_lines_dropped": self.read_dropped_lines(),
        }
