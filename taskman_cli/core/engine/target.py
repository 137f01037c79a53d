"""The target: how many attempts the pool wants to run at once, as it is shown and recorded.

It decides nothing. It is the most that ran at once in the last seconds: up at once, down only by a good part.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.tuning import AdmissionTuning


class Target:
    """Follows how many attempts run."""

    def __init__(self) -> None:
        #: What was last recorded, and when.
        self.recorded = 0
        self._recorded_ns: int | None = None
        #: (until when, how many ran): each was the most that ran since the one before.
        self._peaks: deque[tuple[int, int]] = deque()
        self._running = 0
        self._value = 0
        #: Until then it changes only if more run than it says.
        self._still_until_ns = 0

    def note(self, running: int, elapsed_ns: int) -> bool:
        """Note how many run from now on; tell whether the target may have changed."""
        before = self._running
        if running == before:
            return elapsed_ns >= self._still_until_ns
        peaks = self._peaks
        while peaks and peaks[-1][1] <= before:
            peaks.pop()
        peaks.append((elapsed_ns, before))
        self._running = running
        return running > self._value or elapsed_ns >= self._still_until_ns

    def value(self, elapsed_ns: int, tuning: AdmissionTuning) -> int:
        """Return the target at this moment."""
        while self._peaks and self._peaks[0][0] <= elapsed_ns - tuning.target_window_ns:
            self._peaks.popleft()
        peak = max(self._running, self._peaks[0][1] if self._peaks else 0)
        if peak > self._value or peak <= self._value * (1 - tuning.target_drop):
            self._value = peak
        return self._value

    def change(self, elapsed_ns: int, tuning: AdmissionTuning, *, quiet: float) -> tuple[int, int] | None:
        """Return the target before and now if it is to be recorded; up to `quiet` it is not worth a line."""
        value, before = self.value(elapsed_ns, tuning), self.recorded
        since_ns = self._peaks[0][0] if self._peaks else elapsed_ns
        self._still_until_ns = since_ns + tuning.target_window_ns
        # It may have risen since, and then have fallen to a little less than what was recorded.
        if before * (1 - tuning.target_drop) < value <= before or max(value, before) <= quiet:
            return None
        if self._recorded_ns is not None and elapsed_ns - self._recorded_ns < tuning.target_every_ns:
            self._still_until_ns = min(self._still_until_ns, self._recorded_ns + tuning.target_every_ns)
            return None
        self.recorded, self._recorded_ns = value, elapsed_ns
        return before, value
