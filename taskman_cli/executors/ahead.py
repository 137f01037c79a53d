"""Attempts without a seat: each begins when one that has a seat ends, and has that seat then.

So the next one need not wait until the supervisor has heard of an end. Some of them wait behind others in the
executor; the rest waits here until it can do that, or has a seat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from taskman_cli.executors.base import Work
    from taskman_cli.executors.carried import Carried


class Ahead:
    """Those attempts, in order."""

    def __init__(
        self,
        begin: Callable[[Carried, dict[str, Any]], None],
        begin_behind: Callable[[Carried, dict[str, Any]], bool],
        take_back: Callable[[list[Work]], list[Work]],
        give_back: Callable[[Carried], None],
    ) -> None:
        """`begin_behind` gives the executor one without a seat, and `take_back` takes some from it.

        `give_back` tells the supervisor that one was not begun.
        """
        self._begin = begin
        self._begin_behind = begin_behind
        self._take_back = take_back
        self._give_back = give_back
        #: With what was said of each.
        self._waiting: dict[str, tuple[Carried, dict[str, Any]]] = {}
        #: Those that the executor does not have.
        self._here: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def add(self, carried: Carried, values: dict[str, Any]) -> None:
        """Let an attempt wait for a seat."""
        self._waiting[carried.key] = carried, values
        self._here.append(carried.key)
        self.push()

    def push(self) -> None:
        """Give the executor those that can wait behind others."""
        while self._here:
            key = self._here.pop(0)
            if not self._begin_behind(*self._waiting[key]):
                self._here.insert(0, key)
                break

    def put_back(self, carried: Carried) -> None:
        """Note that the executor has one no more, and has not begun it."""
        carried.work = None
        here = {*self._here, carried.key}
        self._here = [key for key in self._waiting if key in here]

    def seat(self, key: str) -> None:
        """Give an attempt a seat, if it still waits for one."""
        if key not in self._waiting:
            return
        carried, values = self._waiting[key]
        self.drop(key)
        if carried.work is not None:
            carried.work.has_seat = True
        else:
            self._begin(carried, values)
            self.push()

    def drop(self, key: str) -> bool:
        """Forget an attempt; return False if it was none of these."""
        if self._waiting.pop(key, None) is None:
            return False
        if key in self._here:
            self._here.remove(key)
        return True

    def heir_of(self, work: Work | None) -> str | None:
        """Return which attempt has the seat of one that ends, if there is one: that is to be said."""
        if work is not None and work.heir is not None:
            for key, (carried, _) in self._waiting.items():
                if carried.work is work.heir:
                    return key
        return next(iter(self._waiting), None)

    def recall(self, keys: Iterable[str]) -> bool:
        """Give attempts back, as far as they have not begun; tell whether all were given back.

        The executor may find out that some have begun, or have ended.
        """
        found = [self._waiting[key][0] for key in keys if key in self._waiting]
        given = [carried.work for carried in found if carried.work is not None]
        taken = self._take_back(given) if given else []
        is_all = True
        for carried in found:
            if carried.key in self._waiting and (carried.work is None or carried.work in taken):
                self.drop(carried.key)
                self._give_back(carried)
            else:
                is_all = False
        return is_all
