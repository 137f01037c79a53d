"""One call of type "python" as its executor sees it, and what many calls have in common."""

from __future__ import annotations

import asyncio
import json
import marshal
import os
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from taskman_cli.executors.orders import Layers
from taskman_cli.executors.pyline import memory_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from taskman_cli.executors.base import Order, Result, Work

#: Every Python reads it.
_MARSHAL_VERSION = 2
#: What is left in a pipe after a call is read up to so much: another process may go on writing.
_MOST_LEFT_BYTES = 2 << 20
_CHUNK_BYTES, _FIRST_BYTES = 1 << 16, 1 << 10
#: Variables that an interpreter reads when it starts: a worker has them for life.
_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")
#: Plans that are kept.
_MOST_PLANS = 256

Key = tuple[object, ...]


class Maker(Protocol):
    """Who makes calls: a worker."""

    def hear(self) -> None:
        """Take what it has answered."""

    def give_up(self, call: Call) -> None:
        """Never begin a call, or be killed."""

    def take_back(self, works: Collection[Work]) -> list[Work]:
        """Take back calls without a seat; return those that were not begun."""

    def signal(self, call: Call, number: int) -> bool:
        """Send a signal to a call; False: it was not begun, and is the caller's."""


class Plan:
    """What is the same in many calls, as a worker is told of it once."""

    __slots__ = ("call", "key", "of", "text")

    def __init__(
        self, order: Order, env: Mapping[str, str], own_env: Mapping[str, str], place: Place
    ) -> None:
        """`env` is the environment without what each call adds; `own_env` is what the job sets in it."""
        #: What it was made of: as long as that is kept, nothing else has its id.
        self.of = (order.keys, env)
        self.call: str = order.keys["call"]
        #: What a worker has for life: calls that differ in it have different workers.
        self.key: Key = (order.user, order.nice, *[(name, env[name]) for name in at_start(tuple(env))])
        args, kwargs = order.keys.get("args", ()), order.keys.get("kwargs", {})
        says = (
            self.call,
            # As text, which is read for each call: one may change what it is given.
            json.dumps((list(args), dict(kwargs))) if args or kwargs else "",
            order.cwd or place.cwd,
            place.umask if order.umask is None else order.umask,
            {os.fsencode(name): os.fsencode(text) for name, text in env.items()},
            place.is_size_wanted,
            {name: text for name, text in own_env.items() if not name.startswith("TASKMAN_")},
        )
        self.text = marshal.dumps(says, _MARSHAL_VERSION)


class Place:
    """Where calls are made that do not say it, and whether the size of a worker is to be told."""

    def __init__(self, *, is_size_wanted: bool) -> None:
        self.is_size_wanted = is_size_wanted
        try:
            self.cwd = os.getcwd()  # noqa: PTH109 - as it is
        except FileNotFoundError:
            self.cwd = "/"
        self.umask = os.umask(0o077)
        os.umask(self.umask)


class Plans:
    """The plans of late."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._known: dict[tuple[object, ...], Plan] = {}

    def of(self, order: Order) -> tuple[Plan, dict[str, str]]:
        """Return the plan of a call, and what the call adds to its environment."""
        env, own = order.local_env, order.env
        if not (isinstance(env, Layers) and isinstance(own, Layers)):
            return Plan(order, env, own, self._place), {}
        if at_start(tuple(env.added)):
            return Plan(order, env, own.shared, self._place), env.added
        what = id(order.keys), id(env.shared), order.user, order.nice, order.cwd, order.umask
        plan = self._known.get(what)
        if plan is None:
            if len(self._known) >= _MOST_PLANS:
                self._known.clear()
            plan = self._known[what] = Plan(order, env.shared, own.shared, self._place)
        return plan, env.added


class Call:
    """One call: with which worker it is, and its output."""

    __slots__ = (
        "_among", "_has_ended", "_is_watched", "_output", "_over",
        "added", "is_over", "number", "plan", "tries", "work", "worker",
    )  # fmt: skip

    def __init__(
        self,
        work: Work,
        over: Callable[[Result | BaseException], None],
        plan: Plan,
        added: dict[str, str],
        *,
        among: dict[Work, Call],
    ) -> None:
        """`over` is told how it has ended, once; until then it is among these."""
        self.work = work
        self._among = among
        among[work] = self
        self._over = over
        #: That was told, or nobody wants to know.
        self.is_over = False
        self.plan = plan
        self.added = added
        #: How often it was given to a worker whose imports were stale.
        self.tries = 0
        #: Whom it was given to, as which of its calls; None: to nobody yet.
        self.worker: Maker | None = None
        self.number = 0
        self._output = -1
        self._is_watched = self._has_ended = False

    def end(self, outcome: Result | BaseException) -> None:
        """Tell how it has ended, with what it has printed."""
        self.close(is_read=True)
        if not self.is_over:
            self.is_over = True
            del self._among[self.work]
            self._over(outcome)

    def give_up(self) -> None:
        """Let nobody be told how it ends."""
        self.is_over = True
        del self._among[self.work]

    def text(self, *, is_known: bool) -> bytes:
        """Return what a worker is told of it; `is_known`: its plan was that of the call before."""
        order = self.work.order
        return marshal.dumps(
            (
                None if is_known else self.plan.text,
                order.job, order.task, order.run, order.attempt, order.deadline_ns, self.added,
            ),
            _MARSHAL_VERSION,
        )  # fmt: skip

    def open(self) -> list[int]:
        """Make its pipe; return the descriptors for a worker, which are to be closed. Raises OSError."""
        order = self.work.order
        self._output, write = os.pipe2(os.O_CLOEXEC)
        given = [write]
        try:
            os.set_blocking(self._output, False)
            if order.user is not None:
                with suppress(OSError):  # so that it can be opened again by its name
                    os.fchown(write, order.user[0], -1)
            if order.stdin is not None:
                given.append(memory_file(order.stdin))
        except BaseException:
            close(given)
            self.close()
            raise
        return given

    def watch(self) -> None:
        """Pass its output on as it comes."""
        if self._output >= 0 and not (self._is_watched or self._has_ended):
            self._is_watched = True
            asyncio.get_running_loop().add_reader(self._output, self._pass_on)

    def close(self, *, is_read: bool = False) -> None:
        """Let go of its pipe: what it has left running writes to nobody. `is_read`: take what is in it."""
        if self._output < 0:
            return
        left, most = _MOST_LEFT_BYTES if is_read else 0, _FIRST_BYTES  # mostly there is nothing
        while left > 0 and not self._has_ended and (count := self._pass_on(most)) == most:
            left, most = left - count, _CHUNK_BYTES
        self._unwatch()
        os.close(self._output)
        self._output, self._has_ended = -1, False

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            asyncio.get_running_loop().remove_reader(self._output)

    def _pass_on(self, most: int = _CHUNK_BYTES) -> int:
        try:
            data = os.read(self._output, most)
        except BlockingIOError:
            return 0
        if data:
            self.work.write(data)
        else:
            self._has_ended = True
            self._unwatch()
        return len(data)


def close(fds: Iterable[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)


@lru_cache(maxsize=64)
def at_start(names: tuple[str, ...]) -> list[str]:
    """Return which of these variables an interpreter reads when it starts."""
    return sorted(name for name in names if name.startswith(_AT_START))
