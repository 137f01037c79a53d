"""All attempts of one executor: begins them, follows them to their end, and asks where that is not known.

What an executor raises ends the attempt that it came from. A lost connection ends none: how the attempt
stands is asked until it is known, or `lost_after` is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors.ahead import Ahead
from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Ended,
    Executor,
    NoSeat,
    Order,
    Result,
    Running,
    StartFailed,
    Unknown,
    Work,
)
from taskman_cli.executors.carried import Carried, Lost, unsent
from taskman_cli.executors.cleanups import CleanUps
from taskman_cli.executors.leftovers import end_left
from taskman_cli.executors.orders import complete, env_files_of, is_want, order_of, result_values, short
from taskman_cli.executors.progress import Progress
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.telling import Telling
from taskman_cli.executors.types import make
from taskman_cli.supervisor.output import BoundedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.executors.base import Standing
    from taskman_cli.executors.messages import Messages
    from taskman_cli.supervisor.wire import Message

#: Pauses between two questions how an attempt stands; they double up to the longest.
_FIRST_S, _LONGEST_S = 0.1, 10.0
#: How long one question or one signal may take.
_PROBE_S = _SIGNAL_S = 30.0
#: An attempt that gets KILL before it was begun is given up after this time.
_UNBEGUN_S = 3.0
#: Stands in the output of an attempt, where its executor loses what is printed then.
_GAP = b"\n[taskman: the connection broke, and is back: what was printed in between is missing here]\n"


class ExecutorHost:
    """Carries out what the supervisor says, with one executor."""

    def __init__(self, messages: Messages, loop: asyncio.AbstractEventLoop) -> None:
        """`messages` takes what the supervisor is told."""
        self._say, self._messages = messages.say, messages
        self._loop = loop
        self._definition = ExecutorDefinition("", "")
        self._around = Surroundings()
        self._executor: Executor | None = None
        self._telling = Telling(lambda values: self._say("condition", values), loop)
        self._carried: dict[str, Carried] = {}
        take_back = lambda works: self._ready().take_back(works)  # noqa: E731
        self._ahead = Ahead(partial(self._begin, is_new=True), self._begin_behind, take_back, self._return)
        self._progress = Progress(messages.say, loop)
        self._clean_ups = CleanUps(messages.say, loop)

    # --- what is said ---

    def take(self, message: Message) -> None:
        """Take a message of the supervisor."""
        match message:
            case ("configure", dict(definition), dict(facts)):
                self._configure(definition, facts)
            case ("start", str(key), dict(order), path, int(max_output), _):
                place = None if path is None else (path, max_output)
                self._begin(Carried(key, order_of(order, is_new=True), place), order, is_new=True)
                self._ahead.push()
            case ("ahead", str(key), dict(order), path, int(max_output)):
                place = None if path is None else (path, max_output)
                carried = self._carried[key] = Carried(key, order_of(order, is_new=True), place)
                self._ahead.add(carried, order)
            case ("seat", str(key)):
                self._ahead.seat(key)
            case ("recall", list(keys)):
                self._ahead.recall(keys)
            case ("adopt", str(key), dict(order), path, int(max_output), int(unheard_ns)):
                carried = Carried(key, order_of(order), None)
                carried.file = None if path is None else BoundedFile.resume(path, max_output)
                carried.unheard_since_s = self._loop.time() - unheard_ns / SECOND_NS
                self._begin(carried, order, is_new=False)
            case ("signal", str(key), int(number)):
                self._signal(key, number)
            case ("abandon", str(key), dict(order)):
                self._abandon(key, order)
            case ("forget", str(key), dict(order)):
                self._carried.pop(key, None)
                self._clean_up(order)
            case ("ping", *_):
                self._say("pong")

    def _configure(self, definition: dict[str, Any], facts: dict[str, Any]) -> None:
        self._definition = ExecutorDefinition(**definition)
        self._messages.is_brief = facts.get("is_brief", False)
        self._around = Surroundings.of(facts, self._definition.name)

    def _ready(self) -> Executor:
        """Return the executor, made when it is first needed. Raises ValueError, in words."""
        if self._executor is None:
            directory = self._around.directory
            try:
                for place in (directory.parent, directory):
                    with suppress(FileExistsError):
                        place.mkdir(mode=0o700)
            except OSError as error:
                raise ValueError(f"{error.strerror}: {directory}") from error
            self._executor = make(self._definition, self._around)
            self._executor.listener = self._telling.tell
            self._executor.scribe = lambda words: self._say("said", words)
            if self._keeps_nothing:
                self._say("keeps_nothing", "", True)
            if type(self._executor).begin_behind is not Executor.begin_behind:
                self._say("takes_ahead", "")
        return self._executor

    # --- an attempt ---

    def _begin(self, carried: Carried, values: dict[str, Any], *, is_new: bool) -> None:
        self._carried[carried.key] = carried
        if is_new and self._executor is not None and not env_files_of(values):
            try:
                if self._executor.begin(self._work(carried), partial(self._over, carried)):
                    return
            except Exception as error:  # of an executor that is not ours
                self._over(carried, error)
                return
        carried.task = self._loop.create_task(self._carry(carried, values, is_new=is_new))

    def _begin_behind(self, carried: Carried, values: dict[str, Any]) -> bool:
        if env_files_of(values):
            return False
        work = self._work(carried)
        work.has_seat = False
        try:
            if self._ready().begin_behind(work, partial(self._over, carried)):
                return True
        except Exception:  # noqa: S110 - it fails with a seat, and says why
            pass
        carried.work = None
        return False

    def _return(self, carried: Carried) -> None:
        del self._carried[carried.key]
        self._say("returned", carried.key)

    async def _carry(self, carried: Carried, values: dict[str, Any], *, is_new: bool) -> None:
        """Carry an attempt out, and say how it ended, whatever is raised on the way."""
        outcome: Result | BaseException
        try:
            outcome = await self._follow(carried, values, is_new=is_new)
        except BaseException as error:  # SystemExit too: it must not end the other attempts
            outcome = error
        if isinstance(outcome, Lost):
            await end_left(carried.order)
        self._over(carried, outcome)

    def _over(self, carried: Carried, outcome: Result | BaseException) -> None:
        """Say how an attempt ended; the steps of a large file are made one by one before that."""
        if isinstance(outcome, NoSeat):
            self._ahead.put_back(carried)
            return
        carried.is_over = True
        if carried.signaller is not None:
            carried.signaller.cancel()
        if carried.file is not None:
            steps = carried.file.finish()
            if next(steps, steps) is not steps:
                self._clean_ups.do(self._over_later(carried, steps, outcome))
                return
        self._tell_end(carried, outcome)

    async def _over_later(
        self, carried: Carried, steps: Iterator[None], outcome: Result | BaseException
    ) -> None:
        for _ in steps:
            await asyncio.sleep(0)  # others have their turn
        self._tell_end(carried, outcome)

    def _tell_end(self, carried: Carried, outcome: Result | BaseException) -> None:
        if self._keeps_nothing:  # nor do we
            self._carried.pop(carried.key, None)
        # Without this circle of references, their memory is that of the next one at once.
        is_begun, work, carried.work = carried.is_begun, carried.work, None
        heir = None if self._ahead.drop(carried.key) else self._ahead.heir_of(work)
        said, has_started = dict[str, Any](), False
        if isinstance(outcome, Result):
            said = result_values(outcome)
            if work is not None and not work.is_started and carried.task is None:
                work.is_started = has_started = True
                self._telling.well()
        elif isinstance(outcome, StartFailed):
            if outcome.is_transient:
                self._telling.unwell(outcome)
            self._say("failed", carried.key, self._words(outcome), outcome.is_transient)
            return
        elif isinstance(outcome, Lost):
            said = {"lost": short(outcome), "is_over": outcome.is_over}
        elif isinstance(outcome, asyncio.CancelledError):
            if carried.is_abandoned:
                return
            said = {"signal": 9, "error": carried.given_up}
        else:
            words = self._words(f"{type(outcome).__name__}: {outcome}")
            if not is_begun:
                self._say("failed", carried.key, words, is_want(outcome))
                return
            said = {"error": words}
        said.update(carried.written())
        if heir is not None:
            said["next"] = heir
        self._messages.ended(carried.key, said, has_started=has_started)
        if heir is not None:
            self._ahead.seat(heir)

    async def _follow(self, carried: Carried, values: dict[str, Any], *, is_new: bool) -> Result:
        """Begin an attempt or find it again, and follow it to its end through lost connections."""
        why = ""
        if is_new:
            carried.order = await complete(carried.order, values, self._definition.type)
            try:
                executor = self._ready()
            except ValueError as error:
                raise StartFailed(str(error), is_transient=is_want(error.__cause__)) from error
            try:
                return await executor.run(self._work(carried))
            except ConnectionLost as error:
                why = self._cut(carried, error)
        pause_s = 0.0
        while True:
            result = await self._found(carried, why, pause_s)
            if result is not None:
                return result
            began_s = self._loop.time()
            try:
                return await self._ready().attach(self._work(carried))
            except ConnectionLost as error:
                why = self._cut(carried, error)
            pause_s = 0.0 if self._loop.time() - began_s > _LONGEST_S else _FIRST_S

    def _cut(self, carried: Carried, error: ConnectionLost) -> str:
        """Note that the connection to an attempt was lost; return why."""
        carried.is_cut = True
        self._telling.unwell(error)
        return short(error)

    def _work(self, carried: Carried) -> Work:
        """Make the work that the executor is given."""
        carried.work = Work(
            carried.order,
            on_started=partial(self._started, carried),
            on_output=carried.write,
            on_progress=partial(self._progress.note, carried),
        )
        if self._ready().hears_early:
            carried.hear_early()
        return carried.work

    def _started(self, carried: Carried) -> None:
        carried.be_there()
        self._telling.well()
        self._heard(carried)
        self._messages.started(carried.key)

    async def _found(self, carried: Carried, why: str, pause_s: float) -> Result | None:
        """Ask how an attempt stands until that is known; return its result, or None if it runs."""
        until_s = self._definition.lost_after_ns / SECOND_NS
        if not carried.is_unheard:
            if carried.work is not None:
                carried.unheard_since_s = self._loop.time()
            carried.is_unheard = True
            self._say("unheard", carried.key, why or "it is looked for")
        while True:
            await asyncio.sleep(pause_s)
            standing = await self._probed(carried.order)
            if isinstance(standing, Unknown):
                self._telling.unwell(standing.why)
            else:
                self._telling.well()
            match standing:
                case Ended(result=result):
                    self._heard(carried)
                    return result
                case Running():
                    return None
                case Absent(why=absent, is_unbegun=True):
                    raise StartFailed(absent, is_transient=True)
                case Absent(why=absent):
                    words = absent or f"executor {self._definition.name} knows nothing of it any more"
                    raise Lost(words, is_over=True)
            waited_s = self._loop.time() - carried.unheard_since_s
            if standing.why and standing.why != why:
                why = short(standing.why)
                self._say("unheard", carried.key, why)
            if waited_s >= until_s:
                raise Lost(f"nothing was heard of it for {until_s:g} s: {why}")
            pause_s = min(max(2 * pause_s, _FIRST_S), _LONGEST_S, max(until_s - waited_s, _FIRST_S))

    async def _probed(self, order: Order) -> Standing:
        try:
            return await asyncio.wait_for(self._ready().probe(order), _PROBE_S)
        except TimeoutError:
            return Unknown("no answer")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return Unknown(self._words(f"{type(error).__name__}: {error}"))

    def _heard(self, carried: Carried) -> None:
        if carried.is_unheard:
            carried.is_unheard = False
            self._say("unheard", carried.key, "")
            if self._ready().loses_output:
                carried.write(_GAP)

    def _words(self, error: object) -> str:
        return f"executor {self._definition.name}: {short(error)}"

    # --- signals ---

    def _signal(self, key: str, number: int) -> None:
        carried = self._carried.get(key)
        if carried is None or carried.is_over or (key in self._ahead and self._ahead.recall([key])):
            return
        if carried.signals is None:
            carried.signals = deque()
        carried.signals.append(number)
        if carried.signaller is None or carried.signaller.done():
            carried.signaller = self._loop.create_task(self._pass_on(carried, carried.signals))
        if number == 9 and not carried.is_begun and not carried.is_unheard:
            self._loop.call_later(_UNBEGUN_S, self._give_up, carried)

    def _give_up(self, carried: Carried) -> None:
        """Give up an attempt that should be killed and was not begun."""
        if not carried.is_begun and not carried.is_unheard:
            carried.given_up = self._words("killed before it was known to have begun")
            self._let_go(carried)

    def _let_go(self, carried: Carried) -> None:
        if carried.is_over:
            return
        if carried.task is not None:
            carried.task.cancel()
        elif self._executor is not None and carried.work is not None:
            self._executor.give_up(carried.work)
            self._over(carried, asyncio.CancelledError())

    async def _pass_on(self, carried: Carried, signals: deque[int]) -> None:
        """Pass signals on, in order, as soon as the attempt is there."""
        while signals:
            work, number = await carried.until_there(), signals[0]
            try:
                await asyncio.wait_for(self._ready().signal(work, number), _SIGNAL_S)
            except ConnectionLost:
                await asyncio.sleep(_FIRST_S)
                if number == 9 or 9 not in signals:  # it waits for none that does not get through
                    continue
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # KILL comes next, or nothing can be done about it
                self._say(*unsent(carried.key, number, error))
            signals.popleft()

    def _abandon(self, key: str, values: dict[str, Any]) -> None:
        carried = self._carried.pop(key, None)
        if carried is not None:
            carried.is_abandoned = True
            self._ahead.drop(key)
            self._let_go(carried)
        self._clean_up(values)

    @property
    def _keeps_nothing(self) -> bool:
        return self._executor is not None and type(self._executor).forget is Executor.forget

    def _clean_up(self, values: dict[str, Any]) -> None:
        if not self._keeps_nothing:
            self._clean_ups.forget(self._ready, order_of(values))

    async def close(self) -> None:
        """End what runs, after the clean-ups that are on their way."""
        await self._clean_ups.end()
        if self._executor is not None:
            await self._executor.close()
