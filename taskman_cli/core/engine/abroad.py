"""What is known of executors: how each stands, how many attempts began on it, and how they ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taskman_cli.core.conditions import Condition, Reach
from taskman_cli.core.engine.view import ExecutorRow
from taskman_cli.core.executors import LOCAL, executor_of, seats_of
from taskman_cli.core.model import State
from taskman_cli.core.timespec import format_rough

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.engine.events import ExecutorTold
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Settings

#: In place of the type of an executor that is not defined any more.
_REMOVED = "removed"
#: The states in which an attempt on an executor ends.
ENDS = (State.SUCCEEDED, State.FAILED, State.TIMED_OUT, State.CANCELLED, State.LOST)


class Tally:
    """The attempts on one executor, since this scheduler began."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts = 0
        self.ends = dict.fromkeys(ENDS, 0)


class Abroad:
    """All executors, by name. What is told of one that nobody defines is kept until the next reload."""

    def __init__(self) -> None:
        self._told: dict[str, ExecutorTold] = {}
        #: Why starts on it wait, and since when on the elapsed clock.
        self._failed: dict[str, tuple[str, int]] = {}
        #: Of those here, which most are.
        self._here = Tally()
        self._tallies: dict[str, Tally] = {LOCAL: self._here}
        #: How many wait to start on it, and for which executor each does, by key.
        self._waiting: dict[str, int] = {}
        self._wait_of: dict[str, str] = {}

    def waits(self, attempt: Attempt) -> None:
        """Note that an attempt waits to start on its executor."""
        self.waits_no_more(attempt)
        name = self._wait_of[attempt.key] = attempt.executor
        self._waiting[name] = self._waiting.get(name, 0) + 1

    def waits_no_more(self, attempt: Attempt) -> None:
        """Note that an attempt starts on its executor, or does not wait for that any more."""
        name = self._wait_of.pop(attempt.key, None)
        if name is not None:
            self._waiting[name] -= 1

    def take(self, told: ExecutorTold) -> bool:
        """Take how an executor stands; tell whether attempts may begin on it now that could not before."""
        before = self._told.get(told.name)
        self._told[told.name] = told
        is_up = told.condition is not None and told.condition.reach is Reach.UP
        return is_up and (
            before is None or before.condition is None or before.condition.reach is not Reach.UP
        )

    def configure(self, before: Settings, settings: Settings) -> None:
        """Forget the executors that are not defined any more, and how those stood that are now others."""
        defined = {LOCAL, *(one.name for one in settings.executors)}
        same = {one.name for one in settings.executors if one in before.executors}
        for known, names in ((self._told, same), (self._failed, same), (self._tallies, defined)):
            for name in known.keys() - names:
                del known[name]

    def failed(self, executor: str, words: str, elapsed_ns: int) -> None:
        """Note why nothing begins on an executor now."""
        _, since_ns = self._failed.get(executor, ("", elapsed_ns))
        self._failed[executor] = words, since_ns

    def began(self, attempt: Attempt) -> None:
        """Count an attempt that was begun."""
        if not attempt.is_remote:
            self._here.starts += 1
            return
        executor = attempt.executor
        if self._failed:
            self._failed.pop(executor, None)
        self.tally_of(executor).starts += 1

    def ended(self, attempt: Attempt, state: State) -> None:
        """Count an attempt that is over; one that could not be started has failed."""
        if state is State.FAILED or (attempt.spawned is not None and state in ENDS):
            tally = self.tally_of(attempt.executor) if attempt.is_remote else self._here
            tally.ends[state] += 1

    def tally_of(self, executor: str) -> Tally:
        """Return the counts of an executor."""
        tally = self._tallies.get(executor)
        if tally is None:
            tally = self._tallies[executor] = Tally()
        return tally

    def why_away(self, executor: str, elapsed_ns: int) -> str:
        """Return for what a start waits that its executor cannot begin now, in words."""
        condition = self.condition_of(executor)
        words, since_ns = self._failed.get(executor, ("", elapsed_ns))
        if condition is not None and condition.words:
            words, since_ns = condition.words, condition.since_ns
        words = words.removeprefix(f"executor {executor}: ")
        if not words:
            return f"for executor {executor}, which nothing can begin on now"
        return f"for executor {executor}: {words} (for {format_rough(max(0, elapsed_ns - since_ns))})"

    def condition_of(self, executor: str) -> Condition | None:
        """Return how an executor says that it stands; None: it says nothing."""
        told = self._told.get(executor)
        return told.condition if told else None

    def rows(
        self,
        settings: Settings,
        *,
        held: Mapping[str, int],
        early: Iterable[Attempt],
        busy: int,
        ready: int,
    ) -> tuple[ExecutorRow, ...]:
        """Return how all executors stand, `local` first, and last those that are removed and still carry out.

        `held` are the resources that are, also by the `early` ones, which still wait for a seat; `busy` and
        `ready` are the sums of all executors.
        """
        unseated = Counter(attempt.executor for attempt in early)
        rows = [
            self._row(
                one.name,
                one.type,
                held.get(seats_of(one.name), 0) - unseated[one.name],
                one.max_workers,
                self._waiting.get(one.name, 0) + unseated[one.name],
            )
            for one in settings.executors
            if one.type != LOCAL
        ]
        defined = {one.name for one in settings.executors}
        rows += [
            self._row(name, _REMOVED, count - unseated[name], None, unseated[name])
            for resource, count in held.items()
            if count and (name := executor_of(resource)) and name not in defined
        ]
        here = self._row(
            LOCAL,
            LOCAL,
            max(0, busy - sum(row.running for row in rows)),
            None,
            max(0, ready - sum(row.waiting for row in rows)),
        )
        return (here, *rows)

    def _row(self, name: str, kind: str, running: int, most: int | None, waiting: int) -> ExecutorRow:
        told, tally = self._told.get(name), self.tally_of(name)
        condition = told.condition if told else None
        if condition is None:
            is_used = running or tally.starts or name == LOCAL
            condition = Condition(Reach.UP if is_used else Reach.IDLE)
        if condition.reach in (Reach.UP, Reach.IDLE) and (failed := self._failed.get(name)):
            condition = Condition(Reach.DOWN, failed[1], failed[0].removeprefix(f"executor {name}: "))
        return ExecutorRow(
            name=name,
            type=kind,
            reach=condition.reach,
            since_elapsed_ns=condition.since_ns if condition.since_ns else None,
            words=condition.words,
            running=running,
            max_workers=most,
            waiting=waiting,
            restarts=told.restarts if told else 0,
            starts=tally.starts,
            ends=tuple(tally.ends.items()),
            workers=condition.workers,
        )
