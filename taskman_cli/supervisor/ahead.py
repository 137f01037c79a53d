"""Starts without a seat that the process of an executor was given: each begins when one of its attempts ends.

So a short call need not wait until this process has heard of the end before it, and has spoken. Which start
has taken the seat of an attempt that ended is said with that end; a seat that becomes free here is given to
the first of them. One process at a time has such starts, and none is held here that was asked for before
them: so they begin in the order in which they were asked for.
"""

from __future__ import annotations

import time

from taskman_cli.supervisor.remote import Remote
from taskman_cli.supervisor.timers import elapsed_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from taskman_cli.supervisor.host import Host


class Ahead:
    """Those starts, in order."""

    def __init__(self) -> None:
        #: Whose process has them.
        self._host: Host | None = None
        self._remotes: dict[str, Remote] = {}
        #: When each was asked for; those that were recalled are not here, and get no seat from us.
        self._came_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._remotes)

    def __contains__(self, key: str) -> bool:
        return key in self._remotes

    def begin(self, host: Host, came_ns: int, key: str, meta: Any, spec: Any) -> Remote | None:
        """Give the process of an executor a start that was asked for then; None: it cannot have it now."""
        is_its_turn = not self._remotes or self._host is host
        # One that has a seat must be going to end there.
        if not (is_its_turn and host.takes_ahead and host.fd is not None and host.running_count > len(self)):
            return None
        try:
            remote = Remote(key, meta, spec, wall_ns=time.time_ns(), elapsed_ns=elapsed_ns())
            host.send(("ahead", key, remote.order, remote.path, remote.max_output))
        except Exception:  # it begins in its turn, and fails then
            return None
        remote.is_sent = True
        self._host = host
        self._remotes[key], self._came_ns[key] = remote, came_ns
        return remote

    def drop(self, key: str) -> bool:
        """Forget one, if it is one of these: it has a seat, or is over."""
        self._came_ns.pop(key, None)
        return self._remotes.pop(key, None) is not None

    def seat(self, key: str) -> None:
        """Note that one has a seat now, if it is one of these: its time begins."""
        remote = self._remotes.get(key)
        if remote is not None:
            self.drop(key)
            remote.wall_ns, remote.elapsed_ns = time.time_ns(), elapsed_ns()

    def seat_first(self) -> bool:
        """Give a seat to the first one that was not recalled; return False if there is none."""
        if not self._came_ns or self._host is None:
            return False
        key = next(iter(self._came_ns))
        self._host.send(("seat", key))
        self.seat(key)
        return True

    def recall(self, keys: Iterable[str] | None = None) -> None:
        """Have some returned, or all, as far as they have not begun."""
        keys = [key for key in (self._came_ns if keys is None else keys) if key in self._came_ns]
        if keys and self._host is not None:
            self._host.send(("recall", keys))
            for key in keys:
                del self._came_ns[key]

    def recall_old(self, before_ns: int) -> None:
        """Have those returned that were asked for by then."""
        if self._came_ns:  # it mostly is so at the first look
            self.recall([key for key, came_ns in self._came_ns.items() if came_ns <= before_ns])

    @property
    def first_ns(self) -> int | None:
        """Return when the first one was asked for that was not recalled."""
        return next(iter(self._came_ns.values()), None)

    def pass_over(self, key: str) -> None:
        """Give one no seat, if it is one of these: it is to end, and is returned unless it has begun."""
        self._came_ns.pop(key, None)

    def seat_all(self) -> None:
        """Take all for begun: their process is gone, or does not answer."""
        for key in [*self._remotes]:
            self.seat(key)

    def end(self, host: Host) -> None:
        """Note that the process of an executor has ended."""
        if host is self._host:
            self.seat_all()
