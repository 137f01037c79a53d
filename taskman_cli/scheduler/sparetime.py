"""What the loop does when nothing else is to be done: the ledger's upkeep, long replies, preparing starts.

Each is done in parts. However busy the loop is, the first two get a part in some of the turns, so that they
come to an end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.scheduler.ahead import Ahead

if TYPE_CHECKING:
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.scheduler.requests.service import RequestService
    from taskman_cli.scheduler.workers import Workers

#: However busy the loop is, the ledger's upkeep gets one step in this many turns.
CHORE_TURNS = 50
#: However busy it is, a long reply of the control socket gets one portion in this many turns.
PORTION_TURNS = 4
#: No portion is begun this shortly before something is due. It takes a quarter of this.
PORTION_GAP_NS = 1_000_000


class SpareTime:
    """Knows what is left to do, and does a part of it."""

    def __init__(
        self, driver: EngineDriver, outputs: Outputs, requests: RequestService | None, workers: Workers
    ) -> None:
        self._driver = driver
        self._ahead = Ahead(driver, workers)
        self._ledger = driver.ledger
        self._outputs = outputs
        self._requests = requests
        self._turns_since_chore = self._turns_since_portion = 0
        #: When the loop has something to do next, on the wall and on the elapsed clock.
        self.due_at: tuple[int | None, int | None] = (None, None)

    @property
    def is_wanted(self) -> bool:
        """Tell whether there is something to do, so that the loop must not sleep."""
        return self._ledger.has_chores or self._may_make_portion or self._ahead.is_wanted

    def take(self, *, is_idle: bool) -> None:
        """Do a part, in a turn in which nothing else is to be done, or in some of the others."""
        self._turns_since_chore += 1
        self._turns_since_portion += 1
        if self._ledger.has_chores and (is_idle or self._turns_since_chore >= CHORE_TURNS):
            self._turns_since_chore = 0
            try:
                self._tidy()
            except Exception as error:  # the next turn tries again
                self._driver.set_aside("a chore of the ledger", error)
        if self._may_make_portion and (is_idle or self._turns_since_portion >= PORTION_TURNS):
            assert self._requests
            self._turns_since_portion = 0
            self._requests.make_portion()
        if is_idle and self._ahead.is_wanted:
            self._ahead.take()

    @property
    def _may_make_portion(self) -> bool:
        """Tell whether a long reply can go on, and nothing is due in a moment, or often enough it was."""
        if self._requests is None or not self._requests.has_portions:
            return False
        return self._turns_since_portion >= PORTION_TURNS or not self._is_due_soon

    @property
    def _is_due_soon(self) -> bool:
        now = self._driver.now
        # What has come due already wakes the loop in any case.
        return any(
            at_ns is not None and 0 < at_ns - now_ns < PORTION_GAP_NS
            for at_ns, now_ns in zip(self.due_at, (now.wall_ns, now.elapsed_ns), strict=True)
        )

    def _tidy(self) -> None:
        if removed := self._ledger.tidy(self._driver.now.wall_ns):
            runs = list(map(encode_run_id, removed.runs))
            self._outputs.drop(removed.job, runs, is_departed=removed.is_departed)
