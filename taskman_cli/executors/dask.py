"""Type "dask": commands on the workers of a Dask cluster, in sessions of their own.

A command is the child of a keeper on the worker's machine (`keeper`), and is not a task of Dask. It is asked
for once, of one keeper, by its handle; after a lost connection all keepers are asked how it stands. So it is
never run a second time, whatever becomes of workers and of Dask's scheduler.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Executor,
    Finding,
    Result,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.daskcluster import Cluster, declared
from taskman_cli.executors.daskfar import version_of
from taskman_cli.executors.daskline import Line
from taskman_cli.executors.dasklink import Broken, Unreachable
from taskman_cli.executors.daskorder import ended, spec_of
from taskman_cli.executors.daskplaces import Known, Places
from taskman_cli.executors.daskreach import Reaching
from taskman_cli.executors.written import Written, written_so_far

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from taskman_cli.core.executors import ExecutorDefinition
    from taskman_cli.executors.base import Order, Standing, Work
    from taskman_cli.executors.daskcluster import FarWorker
    from taskman_cli.executors.surroundings import Surroundings

#: A start waits so long for a worker with room; then the attempt waits in the pool.
_ROOM_S = 5.0
#: How long it may take to find out which workers there are.
_LOOK_S = 8.0
#: How many workers a start is tried on that turn out to be gone.
_TRIES = 3
#: Questions how attempts stand that come within this time are asked together.
_GATHER_S = 0.02
#: After `orphan_after`, a keeper that is gone has ended what it ran.
_SURELY_S = 15.0
#: Attempts that could not be let go, because their keeper is away.
_MOST_LEFT = 10_000
_CLOSE_S = 3.0


def make(definition: ExecutorDefinition, around: Surroundings) -> DaskExecutor:
    """Make an executor; raises ValueError if its settings are wrong."""
    return DaskExecutor(definition, around)


class DaskExecutor(Executor):
    """Runs commands on the workers of one cluster."""

    def __init__(self, definition: ExecutorDefinition, around: Surroundings) -> None:
        settings = definition.settings
        self._cluster = Cluster(settings)
        self._owner = f"{around.ledger}.{definition.name}"
        self._orphan_after_s = settings.get("orphan_after_ns", definition.lost_after_ns * 4 // 5) / 1e9
        self._lines: dict[str, Line] = {}
        self._places = Places(self._cluster, settings.get("resources", ()))
        self._known = Known(around.directory)
        look = partial(self._refresh, is_forced=True)
        self._reaching = Reaching(self._cluster, self._places, self.tell, look)
        self._places.on_change = self._cluster.on_news = self._reaching.changed
        #: How often each was asked for; a start that was called off is not carried out later.
        self._tries: dict[str, int] = {}
        #: Those of which nothing was heard since they were asked for.
        self._unsure: set[str] = set()
        #: Attempts to let go once their keeper is there again.
        self._left: dict[str, list[str]] = {}
        self._asking: dict[str, asyncio.Future[Standing]] = {}
        self._asker: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[Any]] = set()
        self._is_closing = False

    # --- an attempt ---

    async def run(self, work: Work) -> Result:
        """Start a command on a worker, once, and follow it to its end."""
        order = work.order
        spec = spec_of(order)
        try:
            for _ in range(_TRIES):
                worker = await self._place(order)
                # From before the start: news of it may come before the answer.
                with self._following(work, worker.keeper, skip=0) as end:
                    if not (trouble := await self._start_on(worker, order.handle, spec)):
                        work.started()
                        return await ended(end)
            raise StartFailed(trouble, is_transient=True)
        except StartFailed as error:
            if error.is_transient:
                self._reaching.is_waited_for()
            raise
        except asyncio.CancelledError:
            if not self._is_closing:
                self._do(self._undo(order))
            raise

    async def _start_on(self, worker: FarWorker, handle: str, spec: dict[str, Any]) -> str:
        """Have a command started; return why it was not, for sure, although another worker may do it.

        Raises StartFailed, and ConnectionLost if it is not known.
        """
        self._unsure.discard(handle)
        try:
            await self._known.add(worker.keeper)
            self._known.note(handle)
            await self._ask_for(worker, handle, spec)
        except Unreachable as error:
            self._places.leave(handle)
            self._cluster.doubt(worker)
            return str(error)
        except StartFailed:
            self._places.leave(handle)
            raise
        except Broken as error:
            if isinstance(await self.probe_handle(handle), Absent):  # and it is not begun any more
                self._places.leave(handle)
                raise StartFailed(str(error), is_transient=True) from None
            self._unsure.add(handle)
            raise ConnectionLost(str(error)) from None
        return ""

    async def _ask_for(self, worker: FarWorker, handle: str, spec: dict[str, Any]) -> None:
        """Ask for a start. Raises StartFailed, Unreachable, Broken."""
        line = self._line(worker.keeper)
        tries = self._tries[handle] = self._tries.get(handle, 0) + 1
        reply = await line.ask("start", handle, tries, spec)
        if reply[0] == "void":  # that was an earlier try, which was called off
            tries = self._tries[handle] = int(reply[1]) + 1
            reply = await line.ask("start", handle, tries, spec)
        if reply[0] in ("started", "known"):
            return
        if reply[0] == "refused":
            words = f"worker {worker.name}: {printable(str(reply[1]))}"
            raise StartFailed(words, is_transient=bool(reply[2]))
        raise Broken(f"worker {worker.name}: an answer that makes no sense: {reply[0]}")

    @contextmanager
    def _following(self, work: Work, keeper: str, *, skip: int) -> Iterator[asyncio.Future[dict[str, Any]]]:
        """Pass on output, from an offset; give the future of the end."""
        handle, line = work.order.handle, self._line(keeper)
        written = Written(work, self._known.count_path(handle), count=skip)
        try:
            yield line.follow(handle, written, work.started)
        finally:
            line.unfollow(handle)
            written.close()

    async def signal(self, work: Work, number: int) -> None:
        """Have the keeper signal the command's process group."""
        if (keeper := self._places.of(work.order.handle)) is None:
            return
        try:
            await self._line(keeper).ask("signal", work.order.handle, int(number))
        except (Unreachable, Broken) as error:
            raise ConnectionLost(str(error)) from None

    async def attach(self, work: Work) -> Result:
        """Follow a command again, from the first byte of its output that was not written yet."""
        handle = work.order.handle
        skip = written_so_far(self._known.count_path(handle))
        keeper = self._places.of(handle)
        if keeper is None:
            raise ConnectionLost("it is not known where it runs")
        self._places.take(handle, keeper, dict(work.order.resources))
        with self._following(work, keeper, skip=skip) as end:
            try:
                reply = await self._line(keeper).ask("follow", handle, skip)
            except (Unreachable, Broken) as error:
                raise ConnectionLost(str(error)) from None
            if reply[0] != "running":
                raise ConnectionLost("its keeper does not know it any more")
            work.started()
            return await ended(end)

    async def forget(self, order: Order) -> None:
        """Let a command go; it is ended, if it should run."""
        keeper = self._places.leave(order.handle)
        self._tries.pop(order.handle, None)
        self._unsure.discard(order.handle)
        with suppress(OSError):
            self._known.count_path(order.handle).unlink()
        if keeper is None:
            return
        try:
            await self._line(keeper).ask("forget", order.handle)
        except (Unreachable, Broken) as error:
            if sum(map(len, self._left.values())) < _MOST_LEFT:
                self._left.setdefault(keeper, []).append(order.handle)
            raise ConnectionLost(str(error)) from None

    async def _undo(self, order: Order) -> None:
        with suppress(ConnectionLost):
            await self.forget(order)

    async def _place(self, order: Order) -> FarWorker:
        """Choose a worker for an attempt, once one has room. Raises StartFailed."""
        needs = dict(order.resources)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _ROOM_S
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._refresh()
            except TimeoutError:
                words = f"no answer within {_LOOK_S:g} s: {self._cluster.address}"
                raise StartFailed(words, is_transient=True) from None
            left_s = until_s - loop.time()
            try:
                worker = self._places.best(needs)
            except StartFailed as error:  # perhaps one that has it has not yet said who it is
                if error.is_transient and await self._cluster.heard(left_s):
                    continue
                raise
            if worker is not None:
                self._places.take(order.handle, worker.keeper, needs)
                return worker
            if left_s <= 0:
                words = ", ".join(f"{name} = {n}" for name, n in self._places.asked_of(needs).items())
                raise StartFailed(f"no worker has {words} free", is_transient=True)
            self._places.has_room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._places.has_room.wait()

    def _line(self, keeper: str) -> Line:
        if keeper not in self._lines:
            self._lines[keeper] = Line(
                self._cluster, keeper, self._owner, orphan_after_s=self._orphan_after_s
            )
        return self._lines[keeper]

    def _do(self, chore: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _refresh(self, *, is_forced: bool = False, is_anew: bool = False) -> None:
        """Look who is there; what was left at a keeper that is there again is let go."""
        if not await self._cluster.refresh(is_forced=is_forced, is_anew=is_anew):
            return
        self._reaching.seen()
        there = self._cluster.keepers()
        gone_s = self._orphan_after_s + _SURELY_S
        self._known.look(there, self._places.keepers(), asyncio.get_running_loop().time(), gone_s=gone_s)
        for keeper in there & self._left.keys():
            self._do(self._let_go(keeper, self._left.pop(keeper)))

    async def _let_go(self, keeper: str, handles: list[str]) -> None:
        line = self._line(keeper)
        said = await asyncio.gather(
            *(line.ask("forget", handle) for handle in handles), return_exceptions=True
        )
        again = [
            handle for handle, one in zip(handles, said, strict=True) if isinstance(one, Unreachable | Broken)
        ]
        if again:
            self._left.setdefault(keeper, []).extend(again)

    # --- how attempts stand ---

    async def probe(self, order: Order) -> Standing:
        """Ask all keepers for an attempt."""
        self._known.note_doubt(order.handle)
        return await self.probe_handle(order.handle)

    async def probe_handle(self, handle: str) -> Standing:
        """Ask all keepers for an attempt by its handle."""
        if handle not in self._asking:
            self._asking[handle] = asyncio.get_running_loop().create_future()
            if self._asker is None or self._asker.done():
                self._asker = asyncio.ensure_future(self._look_for_all())
        return await asyncio.shield(self._asking[handle])

    async def _look_for_all(self) -> None:
        """Ask for all attempts that are asked for now, together."""
        while self._asking:
            await asyncio.sleep(_GATHER_S)
            asking, self._asking = self._asking, {}
            standings: dict[str, Standing] = {}
            why = "it could not be asked"
            try:
                standings = await self._look_for(asking)
            except Exception as error:  # whatever it is, those who ask meanwhile are answered, too
                why = f"it could not be asked: {type(error).__name__}"
            finally:
                for handle, future in asking.items():
                    if not future.done():
                        future.set_result(standings.get(handle, Unknown(why)))

    async def _look_for(self, handles: Iterable[str]) -> dict[str, Standing]:
        await self._refresh(is_anew=True)
        if self._cluster.trouble:
            return {handle: Unknown(self._cluster.trouble) for handle in handles}
        keepers = sorted(self._cluster.keepers())
        asked = [(keeper, handle) for handle in handles for keeper in keepers]
        said = await asyncio.gather(
            *(
                self._line(keeper).ask("stand", handle, self._tries.get(handle, 0))
                for keeper, handle in asked
            ),
            return_exceptions=True,
        )
        return {
            handle: self._judge(
                handle,
                {
                    keeper: reply
                    for (keeper, which), reply in zip(asked, said, strict=True)
                    if which == handle
                },
            )
            for handle in handles
        }

    def _judge(self, handle: str, said: dict[str, Any]) -> Standing:
        """Return how an attempt stands after all keepers that can be reached have spoken."""
        for keeper, reply in said.items():
            if not isinstance(reply, BaseException) and reply[0] in ("running", "orphaned"):
                self._places.take(handle, keeper)
                self._unsure.discard(handle)
                if reply[0] == "orphaned":
                    return Absent(printable(str(reply[1])))
                return Running()
        silent = [
            one for one, reply in said.items() if isinstance(reply, BaseException) or reply[0] != "absent"
        ]
        where = self._places.of(handle)
        # Where it was begun is not known to a process that has taken over.
        wanted = {where} if where is not None else {*self._known.names(), *silent}
        away = [keeper for keeper in wanted if keeper not in said or keeper in silent]
        if away:
            return Unknown("the worker that it runs on is gone" if where else "a worker it may be on is gone")
        # Without a note, an earlier process had not asked for it; or it was asked for, which never arrived.
        is_unasked = where is None and self._known.is_sure and not self._known.count_path(handle).exists()
        return Absent("its worker knows nothing of it", is_unbegun=is_unasked or handle in self._unsure)

    # --- the rest ---

    async def check(self) -> tuple[Finding, ...]:
        """Look at the scheduler and at each worker."""
        await self._cluster.look()
        if self._cluster.trouble:
            return (
                Finding(
                    is_good=False,
                    words=self._cluster.trouble,
                    advice="see that it runs and can be reached, and that address and tls are right",
                ),
            )
        version = await self._cluster.versions()
        found = [Finding(is_good=True, words=f"the Dask scheduler {version} answers".replace("  ", " "))]
        workers = sorted(self._cluster.workers.values(), key=lambda one: one.name)
        if not workers:
            advice = f"start one: dask worker {self._cluster.address}"
            found.append(Finding(is_good=False, words="it has no worker", advice=advice))
        found += [
            Finding(is_good=False, words=f"worker {worker.name}: {worker.trouble or 'no answer'}")
            for worker in workers
            if not worker.keeper
        ]
        good = [worker for worker in workers if worker.keeper]
        if good:
            threads = sum(worker.threads for worker in good)
            has = "".join(f", {name} up to {most:g}" for name, most in sorted(declared(good).items()))
            words = f"{len(good)} of {len(workers)} workers can be used, with {threads} threads{has}"
            found.append(Finding(is_good=True, words=words))
        others = sorted({one.versions[1] for one in good} - {version_of("distributed")})
        if others:
            words = f"workers have distributed {', '.join(others)}, and here is {version_of('distributed')}"
            found.append(Finding(is_good=True, words=words))
        return tuple(found)

    async def close(self) -> None:
        """Close all connections; commands go on, until nothing is heard of us for `orphan_after`."""
        self._is_closing = True
        if self._chores:
            await asyncio.wait([*self._chores], timeout=_CLOSE_S)
        for task in [*self._chores, *([self._asker] if self._asker is not None else [])]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._reaching.close()
        for line in [*self._lines.values()]:
            await line.close()
        await self._cluster.close()
