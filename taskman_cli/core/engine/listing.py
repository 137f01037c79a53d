"""The list of the jobs in portions: with 100,000 jobs no portion delays a start.

Each job is told as it is when its portion is made. Their order is that of the job files as they were when the
list began, then one-off jobs. A job that is gone by then is left out, and so may be one that came meanwhile.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.answers import FIELDS, is_in_state, job_item, quiet_item
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.errors import EXIT_NOT_FOUND, EXIT_USAGE, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.model import Job
    from taskman_cli.core.protocol import ListJobs

#: What a portion costs at most, in jobs that are told of: about 0.2 ms.
PORTION = 32
#: So many jobs that are passed over cost as much as one that is told of.
_PASSED = 25
#: Lists that go on may be of so many job files, the latest; those of earlier ones must begin again. So a
#: client that reads slowly keeps no more than these in memory.
MOST_ORDERS = 2


class _Order:
    """The jobs of the files in their order, as long as a list goes through them."""

    __slots__ = ("__weakref__", "jobs")

    def __init__(self, jobs: Sequence[Job]) -> None:
        #: None: they were replaced too long ago.
        self.jobs: Sequence[Job] | None = jobs

    def name_at(self, place: int) -> str | None:
        """Return the name of the job at a place; None: there are no more. Raises Refused."""
        if self.jobs is None:
            raise Refused("list: the job files have changed too often since: ask again", may_repeat=True)
        return self.jobs[place].id if place < len(self.jobs) else None


class Listings:
    """Begins lists, and knows which job files they go through."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._orders: list[weakref.ref[_Order]] = []

    def begin(
        self, request: ListJobs, jobs: Sequence[Job], removed: Callable[[str], tuple[str, ...]]
    ) -> Listing:
        """Begin a list in the order of `jobs`, those of the files. Raises Refused.

        `removed` returns the tasks that were removed from a job.
        """
        for name in request.fields:
            if name not in FIELDS:
                hint = did_you_mean(name, FIELDS) or f": not one of {', '.join(FIELDS)}"
                raise Refused(f"list: a job has no field {name!r}{hint}", EXIT_USAGE)
        if request.limit is not None and request.limit < 1:
            raise Refused(f"list: limit cannot be {request.limit}", EXIT_USAGE)
        return Listing(self._engine, self._order_of(jobs), request, removed)

    def _order_of(self, jobs: Sequence[Job]) -> _Order:
        going = [order for ref in self._orders if (order := ref()) is not None]
        if not going or going[-1].jobs is not jobs:
            going.append(_Order(jobs))
        for order in going[:-MOST_ORDERS]:
            order.jobs = None
        self._orders = [weakref.ref(order) for order in going[-MOST_ORDERS:]]
        return going[-1]


class Listing:
    """One list that goes on."""

    def __init__(
        self, engine: Engine, order: _Order, request: ListJobs, removed: Callable[[str], tuple[str, ...]]
    ) -> None:
        self._engine = engine
        self._request = request
        self._removed = removed
        self._tags = frozenset(request.tags)
        self._states = frozenset(request.states)
        self._fields = frozenset(request.fields)
        self._left = request.limit
        self._names = self._in_order(order)
        #: Where the list begins has not been found yet.
        self._is_seeking = request.after is not None
        self.is_over = False

    def portion(self, now: Now) -> list[dict[str, Any]]:
        """Return the next jobs, which may be none. Raises Refused."""
        found: list[dict[str, Any]] = []
        engine, jobs, waits = self._engine, self._engine.timetable.jobs, None
        is_brief = self._request.brief
        cost = PORTION * _PASSED
        while cost > 0 and self._left != 0:
            name = next(self._names, None)
            if name is None:
                if self._is_seeking:
                    raise Refused(f"list: there is no job {self._request.after} any more", EXIT_NOT_FOUND)
                self._left = 0
                break
            cost -= 1
            armed = jobs.get(name)
            if self._is_seeking:
                self._is_seeking = name != self._request.after
            elif armed is not None and self._may_be_wanted(armed):
                is_at_work = engine.is_at_work(name)  # few jobs are, as a rule
                cost -= _PASSED
                if is_brief and not is_at_work and engine.failing.of(name) is None:
                    item = quiet_item(armed, self._removed(name))
                else:
                    if waits is None and is_at_work:
                        waits = engine.waits(now)
                    item = job_item(engine, armed, now, self._removed(name), waits=waits)
                    cost -= _PASSED * sum(len(item[key]) for key in ("waits", "running", "retrying"))
                if not self._states or is_in_state(FIELDS | item, self._states):
                    found.append(self._told(item))
                    if self._left is not None:
                        self._left -= 1
        self.is_over = self._left == 0
        return found

    def _told(self, item: dict[str, Any]) -> dict[str, Any]:
        """Leave out of a job what was not asked for."""
        fields = self._request.fields
        if self._request.brief:
            wanted = self._fields or item
            return {name: value for name, value in item.items() if value and name in wanted}
        return {name: item[name] for name in fields} if fields else item

    def _may_be_wanted(self, armed: ArmedJob) -> bool:
        if self._request.once and not armed.job.is_once:
            return False
        return not self._tags or not self._tags.isdisjoint(armed.job.tags)

    def _in_order(self, order: _Order) -> Iterator[str]:
        jobs, passed = self._engine.timetable.jobs, set[str]()
        place = 0
        while (name := order.name_at(place)) is not None:
            place += 1
            # One that is about to be over may have the name of a job of the files.
            if name in jobs and jobs[name].job.is_once:
                passed.add(name)
            yield name
        del order
        yield from [name for name in self._engine.once_jobs if name not in passed]
