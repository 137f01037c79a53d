"""The workers of one Dask cluster, as taskman knows them: who is there, and how a keeper is reached."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.executors.daskfar import FAR_VERSION, OPERATION, install, version_of
from taskman_cli.executors.dasklink import Broken, Link, Raised, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: How long a server may take to answer where it need not wait for anything.
_ANSWER_S = 4.0
#: A question to a keeper may take longer: it may have many commands to start.
_KEEPER_S = 15.0
#: The list of workers is so old at most when one is chosen.
_FRESH_S = 2.0
#: How long is waited for workers to say who they are, and when one is asked again that did not.
_GREET_S, _GREET_AGAIN_S, _UNFIT_AGAIN_S = 6.0, 5.0, 60.0
#: `taskman doctor` waits 4 s for all: so long for a connection, and then for the words for it.
_LOOK_S, _SPARE_S = 3.0, 0.4
#: So many workers are asked at the same time.
_AT_ONCE = 32


@dataclass(slots=True)
class FarWorker:
    """One worker, as the scheduler and it itself say."""

    address: str
    name: str
    threads: int
    #: What it declares with `--resources`.
    resources: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: int = 0
    #: It takes tasks.
    is_running: bool = True
    machine: str = ""
    #: What runs its commands.
    keeper: str = ""
    #: All keepers that can be reached through it.
    keepers: frozenset[str] = frozenset()
    #: Why no command can be given to it.
    trouble: str = ""
    #: Somebody has to do something about that.
    is_unfit: bool = False
    #: It has loaded what taskman needs there.
    is_loaded: bool = False
    #: Of taskman, and of distributed, there.
    versions: tuple[str, str] = ("", "")


class Cluster:
    """The scheduler and its workers."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError, in words, if the settings are wrong."""
        self.address = str(settings["address"])
        self._is_direct = bool(settings.get("direct", True))
        self._link = Link(settings)
        #: By address.
        self.workers: dict[str, FarWorker] = {}
        #: Why the scheduler does not answer.
        self.trouble = "it was not asked yet"
        #: When the list was made, on the loop's clock.
        self._fresh_s = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        #: Workers that are being asked who they are, by address; and when each was last asked in vain.
        self._greeting: dict[str, asyncio.Task[None]] = {}
        self._failed_s: dict[str, float] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)
        #: Called when a worker has said who it is, or has not.
        self.on_news: Callable[[], None] = lambda: None

    async def refresh(self, *, is_forced: bool = False, is_anew: bool = False) -> bool:
        """Ask who is there, unless that is known; tell if it was asked.

        `is_forced`: in any case; `is_anew`: and each worker for its keepers.
        """
        if self._refreshing is None or self._refreshing.done():
            is_fresh = asyncio.get_running_loop().time() - self._fresh_s < _FRESH_S
            if is_fresh and not is_forced and not is_anew:
                return False
            self._refreshing = asyncio.ensure_future(self._refresh())
        await asyncio.shield(self._refreshing)
        if not self.trouble:
            await self._greet_all(is_anew=is_anew)
        return True

    async def look(self) -> None:
        """Ask who is there, and each worker for its keepers, in the time that `taskman doctor` gives."""
        self._link.hurry(_LOOK_S)
        try:
            async with asyncio.timeout(_LOOK_S + _SPARE_S):
                await self.refresh(is_forced=True, is_anew=True)
        except TimeoutError:
            if self._refreshing is not None and not self._refreshing.done():
                self.trouble = f"the Dask scheduler does not answer: {self.address} says nothing"

    async def _refresh(self) -> None:
        """Ask the scheduler for its workers."""
        try:
            said = await self._link.call(self.address, "identity", within_s=_ANSWER_S)
            listed = [_worker(address, one) for address, one in dict(said["workers"]).items()]
        except (Unreachable, Broken) as error:
            self.trouble = f"the Dask scheduler does not answer: {error}"
            self._fresh_s = asyncio.get_running_loop().time() - _FRESH_S / 2
            return
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            self.trouble = f"what answers at {self.address} is not a Dask scheduler"
            return
        known, self.workers = self.workers, {}
        for worker in listed:
            one = known.get(worker.address)
            if one is not None and one.name == worker.name:
                one.threads, one.resources = worker.threads, worker.resources
                one.memory_bytes, one.is_running = worker.memory_bytes, worker.is_running
                worker = one
            self.workers[worker.address] = worker
        self._failed_s = {name: at_s for name, at_s in self._failed_s.items() if name in self.workers}
        self.trouble = ""
        self._fresh_s = asyncio.get_running_loop().time()

    async def _greet_all(self, *, is_anew: bool) -> None:
        """Ask workers who they are: those that are new, or all. One that does not answer holds nobody up."""
        loop = asyncio.get_running_loop()
        asked = []
        for worker in self.workers.values():
            failed_s = self._failed_s.get(worker.address, float("-inf"))
            again_s = _UNFIT_AGAIN_S if worker.is_unfit else _GREET_AGAIN_S
            is_due = not worker.keeper and loop.time() - failed_s >= again_s
            if (is_anew or is_due) and worker.address not in self._greeting:
                task = self._greeting[worker.address] = asyncio.ensure_future(self._greet(worker))
                task.add_done_callback(partial(self._greeted, worker.address))
            if worker.address in self._greeting and (is_anew or not worker.keeper):
                asked.append(self._greeting[worker.address])
        until_s = loop.time() + _GREET_S
        while asked and (is_anew or not any(one.keeper for one in self.workers.values())):
            left_s = until_s - loop.time()
            if left_s <= 0:
                return
            _, waiting = await asyncio.wait(asked, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            asked = [*waiting]

    async def heard(self, within_s: float) -> bool:
        """Wait for a worker that is being asked who it is; False: there is none, or no time is left."""
        asked = [*self._greeting.values()]
        if not asked or within_s <= 0:
            return False
        await asyncio.wait(asked, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return True

    def _greeted(self, address: str, _: object) -> None:
        self._greeting.pop(address, None)
        self.on_news()

    async def _greet(self, worker: FarWorker) -> None:
        """Ask a worker who it is, and note the answer."""
        async with self._limit:
            try:
                self._note(worker, await self._hello(worker))
            except Raised as error:
                worker.trouble, worker.is_unfit = _install_words(str(error)), True
            except Unreachable as error:
                advice = "; if only the scheduler can reach it, set direct = false" if self._is_direct else ""
                worker.trouble = f"{error}{advice}"
            except Broken as error:
                worker.trouble = str(error)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                worker.trouble = f"it says what makes no sense: {type(error).__name__}"
        if worker.trouble:
            worker.keeper, worker.keepers = "", frozenset()
            self._failed_s[worker.address] = asyncio.get_running_loop().time()

    async def _hello(self, worker: FarWorker) -> dict[str, Any]:
        """Ask a worker who it is; if need be, have it load what taskman needs there."""
        said = None
        if worker.is_loaded:
            said = await self._call(worker.address, OPERATION, within_s=_ANSWER_S, what="hello")
        if said is None:
            done = await self._call(
                worker.address, "run", within_s=_ANSWER_S, function=pickle.dumps(install), wait=True
            )
            if done.get("status") != "OK":
                raise Raised(str(done.get("exception_text", done)))
            worker.is_loaded = True
            said = await self._call(worker.address, OPERATION, within_s=_ANSWER_S, what="hello")
        return dict(said)

    def _note(self, worker: FarWorker, said: Mapping[str, Any]) -> None:
        if "version" not in said:
            worker.trouble = printable(str(said.get("trouble", "it does not say who it is")))
            return
        worker.versions = printable(str(said.get("taskman"))), printable(str(said.get("distributed")))
        worker.is_unfit = said["version"] != FAR_VERSION
        if worker.is_unfit:
            worker.trouble = (
                f"it has taskman {worker.versions[0]}, which does not go with "
                f"{version_of('taskman-scheduler')} here: install that there, and start the worker again"
            )
            return
        worker.machine, worker.trouble = printable(str(said.get("machine"))), ""
        worker.keeper, worker.keepers = str(said["keeper"]), frozenset(map(str, said["keepers"]))

    async def _call(self, address: str, operation: str, *, within_s: float, **values: Any) -> Any:
        """Ask a worker, directly or through the scheduler."""
        if self._is_direct:
            return await self._link.call(address, operation, within_s=within_s, **values)
        said = await self._link.call(
            self.address, "broadcast", within_s=within_s, msg={"op": operation, **values}, workers=[address]
        )
        if not isinstance(said, dict):
            raise Broken(f"what answers at {self.address} is not a Dask scheduler")
        return said.get(address)

    def door_of(self, keeper: str) -> FarWorker | None:
        """Return a worker through which a keeper is reached; None: there is none."""
        doors = [one for one in self.workers.values() if keeper in one.keepers]
        return next((one for one in doors if one.keeper == keeper), doors[0] if doors else None)

    def keepers(self) -> set[str]:
        """Return all keepers that can be reached."""
        return {keeper for worker in self.workers.values() for keeper in worker.keepers}

    async def ask(self, keeper: str, what: str, question: Sequence[Any], *, wait_s: float = 0.0) -> Any:
        """Ask a keeper, and return its answer. Raises Unreachable if it was not asked, Broken."""
        worker = self.door_of(keeper)
        if worker is None:
            raise Unreachable(self.trouble or "its worker is gone")
        said = await self._call(
            worker.address, OPERATION, within_s=_KEEPER_S + wait_s,
            what=what, keeper=keeper, question=question, wait_s=wait_s,
        )  # fmt: skip
        if isinstance(said, dict) and "answer" in said:
            return said["answer"]
        self.doubt(worker)
        if isinstance(said, dict) and "gone" in said:
            raise Broken(f"worker {worker.name}: {printable(str(said['gone']))}")
        # None: it is another process, which has not loaded this.
        words = said.get("unknown", said.get("trouble")) if isinstance(said, dict) else "it was started again"
        raise Unreachable(f"worker {worker.name}: {printable(str(words))}")

    def doubt(self, worker: FarWorker) -> None:
        """Ask a worker anew who it is, the next time."""
        worker.keeper, worker.keepers = "", frozenset()
        self._fresh_s = float("-inf")

    async def versions(self) -> str:
        """Return which version of distributed the scheduler has; "" if it does not say."""
        try:
            said = await self._link.call(self.address, "versions", within_s=_ANSWER_S)
            return printable(str(dict(said["packages"])["distributed"]))
        except (Unreachable, Broken, KeyError, TypeError, ValueError):
            return ""

    async def close(self) -> None:
        """Close all connections."""
        for task in [*self._greeting.values(), *([self._refreshing] if self._refreshing is not None else [])]:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._link.close()


def declared(workers: Iterable[FarWorker]) -> dict[str, float]:
    """Return the most that one of these workers declares of each resource."""
    most: dict[str, float] = {}
    for worker in workers:
        for name, amount in worker.resources.items():
            most[name] = max(amount, most.get(name, 0.0))
    return most


def _worker(address: str, said: Mapping[str, Any]) -> FarWorker:
    resources = {str(name): float(amount) for name, amount in dict(said.get("resources") or {}).items()}
    return FarWorker(
        address=str(address),
        name=printable(str(said.get("name", address))),
        threads=max(1, int(said.get("nthreads") or 1)),
        resources=resources,
        memory_bytes=max(0, int(said.get("memory_limit") or 0)),
        is_running=said.get("status", "running") == "running",
    )


def _install_words(said: str) -> str:
    if "taskman_cli" in said:
        return (
            f"taskman cannot be imported there ({printable(said)}): "
            f'pip install "taskman-scheduler[dask]=={version_of("taskman-scheduler")}" in its environment'
        )
    return printable(said)
