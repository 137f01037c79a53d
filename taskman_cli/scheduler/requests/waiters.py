"""Who waits for which runs to be over, and what they are told then. Part of the desk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taskman_cli.control.peers import Client


@dataclass(slots=True, eq=False)
class _Watch:
    """Somebody waits for runs to be over."""

    client: Client
    runs: set[str]
    #: How they ended, in the order they did.
    ends: list[dict[str, Any]] = field(default_factory=list)
    #: A one-hit job whose run is still to come.
    once: str | None = None
    #: When waiting is over, on the elapsed clock; None: never.
    until_ns: int | None = None
    #: Told of one run, or of a list of them.
    is_single: bool = False


class Waits:
    """Hears of what is durable, and tells those who wait for it."""

    def __init__(self) -> None:
        self._watches: list[_Watch] = []
        #: The latest end of an attempt of each run that somebody waits for.
        self._last_ends: dict[str, effects.AttemptFinished] = {}
        #: Runs that ended while somebody was about to wait, who may turn out to wait for one of them.
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
        """Let a client wait for runs, or for that of a one-hit job."""
        watch = _Watch(client, set(runs), once=once, until_ns=until_ns, is_single=is_single)
        self._watches.append(watch)
        for run in list(watch.runs):
            if run in self._over:
                self._end(watch, self._over[run])
        if not watch.runs and once is None and watch in self._watches:
            self._close(watch)  # there is nothing to wait for

    def expect(self, is_expecting: bool) -> None:
        """Keep what ends from now on for somebody who is about to wait, or keep it no more."""
        self._is_expecting = is_expecting
        if not is_expecting:
            self._over.clear()

    def next_timer(self) -> int | None:
        """Return when somebody has waited long enough, on the elapsed clock, or None."""
        return min((watch.until_ns for watch in self._watches if watch.until_ns is not None), default=None)

    def expire(self, elapsed_ns: int) -> None:
        """Tell those who have waited long enough."""
        for watch in list(self._watches):
            if watch.until_ns is not None and watch.until_ns <= elapsed_ns:
                self._close(watch, timed_out=True)

    def tell(self, record: effects.Record | effects.Mark) -> None:
        """Take note of what is durable."""
        if not self._watches and not self._is_expecting:
            self._last_ends.clear()
            return
        match record:
            case effects.RunQueued():
                for watch in self._watches:
                    if watch.once == record.job:
                        watch.once, watch.runs = None, {record.run}
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
        for watch in list(self._watches):
            if run in watch.runs or (run is None and watch.once == job):
                self._end(watch, end)

    def _end(self, watch: _Watch, end: dict[str, Any]) -> None:
        watch.runs.discard(end["run"])
        watch.ends.append(end)
        if not watch.runs:
            self._close(watch)

    def _close(self, watch: _Watch, *, timed_out: bool = False) -> None:
        self._watches.remove(watch)
        if watch.is_single and watch.ends:
            watch.client.reply({"ok": True} | watch.ends[0], final=True)
        else:
            watch.client.reply({"ok": True, "runs": watch.ends, "timed_out": timed_out}, final=True)
