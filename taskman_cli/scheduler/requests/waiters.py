"""Clients that wait for the end of runs, and what they are told then."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import earliest
from taskman_cli.core.engine import effects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.control.peers import Client


#: The records that `Waiters.tell` does something with.
WAITED_FOR = (
    effects.RunQueued, effects.AttemptFinished, effects.RunFinished, effects.SlotsSkipped, effects.OnceOver,
)  # fmt: skip


@dataclass(slots=True, eq=False)
class _Waiter:
    """A client that waits for the end of some runs."""

    client: Client
    #: Those that have not ended.
    runs: set[str]
    #: How the others ended, in that order.
    ends: list[dict[str, Any]] = field(default_factory=list)
    #: A one-off job whose run has not begun.
    once: str | None = None
    #: When the client stops waiting, on the elapsed clock; None: never.
    until_ns: int | None = None
    #: The reply is the end of one run, not a list.
    is_single: bool = False


class Waiters:
    """Follows the records of runs, and replies to the clients that wait for their ends."""

    def __init__(self) -> None:
        self._waiters: list[_Waiter] = []
        #: The latest end of an attempt, for each run that a client waits for.
        self._last_ends: dict[str, effects.AttemptFinished] = {}
        #: Runs that ended while a request that may wait for them had no answer yet.
        self._over: dict[str, dict[str, Any]] = {}
        self._is_expecting = False

    def add(
        self,
        client: Client,
        runs: Iterable[str],
        *,
        once: str | None = None,
        is_single: bool = False,
        until_ns: int | None = None,
    ) -> None:
        """Reply to a client when these runs, or the run of a one-off job, have ended."""
        waiter = _Waiter(client, set(runs), once=once, until_ns=until_ns, is_single=is_single)
        self._waiters.append(waiter)
        for run in list(waiter.runs):
            if run in self._over:
                self._end(waiter, self._over[run])
        if not waiter.runs and once is None and waiter in self._waiters:
            self._close(waiter)  # there is nothing to wait for

    def expect(self, is_expecting: bool) -> None:
        """Keep the ends of runs for clients that are about to wait, or stop keeping them."""
        self._is_expecting = is_expecting
        if not is_expecting:
            self._over.clear()

    def next_timer(self) -> int | None:
        """Return when the first client stops waiting, on the elapsed clock, or None."""
        return earliest(*(waiter.until_ns for waiter in self._waiters)) if self._waiters else None

    def expire(self, elapsed_ns: int) -> None:
        """Reply to the clients that have waited as long as they wanted to."""
        for waiter in list(self._waiters):
            if waiter.until_ns is not None and waiter.until_ns <= elapsed_ns:
                self._close(waiter, timed_out=True)

    def tell(self, record: effects.Record | effects.Mark) -> None:
        """Take note of a record that is durable."""
        if not self._waiters and not self._is_expecting:
            self._last_ends.clear()
            return
        match record:
            case effects.RunQueued():
                for waiter in self._waiters:
                    if waiter.once == record.job:
                        waiter.once, waiter.runs = None, {record.run}
            case effects.AttemptFinished():
                self._last_ends[record.run] = record
            case effects.RunFinished():
                self._take_end(record.run, record.job, record.state.value, record.detail)
            case effects.SlotsSkipped(run=str()):
                assert record.run is not None
                self._take_end(record.run, record.job, "skipped", record.detail)
            case effects.OnceOver():
                self._take_end(None, record.job, "cancelled", "before its time")
            case _:
                pass

    def _take_end(self, run: str | None, job: str, state: str, detail: str) -> None:
        last = None if run is None else self._last_ends.pop(run, None)
        end = {
            "run": run, "job": job, "state": state,
            "exit_code": last.exit.exit_code if last and last.exit else None,
            "signal": last.exit.signal if last and last.exit else None,
            "detail": detail or (last.detail if last else ""),
        }  # fmt: skip
        if run is not None and self._is_expecting:
            self._over[run] = end
        for waiter in list(self._waiters):
            if run in waiter.runs or (run is None and waiter.once == job):
                self._end(waiter, end)

    def _end(self, waiter: _Waiter, end: dict[str, Any]) -> None:
        waiter.runs.discard(end["run"])
        waiter.ends.append(end)
        if not waiter.runs:
            self._close(waiter)

    def _close(self, waiter: _Waiter, *, timed_out: bool = False) -> None:
        self._waiters.remove(waiter)
        if waiter.is_single and waiter.ends:
            waiter.client.reply({"ok": True} | waiter.ends[0], final=True)
        else:
            waiter.client.reply({"ok": True, "runs": waiter.ends, "timed_out": timed_out}, final=True)
