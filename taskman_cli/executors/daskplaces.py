"""Which worker a command goes to, and which keepers may have commands of ours."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.executors.base import StartFailed
from taskman_cli.executors.daskcluster import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from taskman_cli.executors.daskcluster import Cluster, FarWorker


class Places:
    """Where each attempt is, and what it draws on there."""

    def __init__(self, cluster: Cluster, resources: Iterable[str]) -> None:
        """`resources`: those that a worker has to declare, even while none that does is there."""
        self._cluster = cluster
        self._asked = set(resources)
        #: The keeper of each attempt that is not forgotten, and the resources that it draws on.
        self._where: dict[str, tuple[str, Mapping[str, int]]] = {}
        #: Set when an attempt leaves.
        self.has_room = asyncio.Event()
        #: Called when an attempt comes or leaves.
        self.on_change: Callable[[], None] = lambda: None

    def take(self, handle: str, keeper: str, needs: Mapping[str, int] | None = None) -> None:
        """Note that an attempt is at a keeper, or most likely is."""
        known = self._where.get(handle)
        self.on_change()
        self._where[handle] = keeper, needs if needs is not None else known[1] if known else {}

    def leave(self, handle: str) -> str | None:
        """Count an attempt no more; return where it was."""
        self.has_room.set()
        self.on_change()
        return self._where.pop(handle, (None, {}))[0]

    def of(self, handle: str) -> str | None:
        """Return the keeper of an attempt; None: it is not known."""
        return self._where.get(handle, (None, {}))[0]

    def keepers(self) -> set[str]:
        """Return the keepers that have attempts."""
        return {keeper for keeper, _ in self._where.values()}

    def best(self, needs: Mapping[str, int]) -> FarWorker | None:
        """Return the worker with the fewest of our commands for its threads; None: none has room now.

        Raises StartFailed if nothing can be started, whoever ends.
        """
        usable = self.usable()
        asked = self.asked_of(needs)
        most, most_ever = declared(usable), declared(self._cluster.workers.values())
        for name, amount in asked.items():
            if amount > most.get(name, 0.0):
                has = (
                    f"the most is {most_ever[name]:g}"
                    if name in most_ever
                    else "none that is there declares it"
                )
                is_transient = amount <= most_ever.get(name, amount)
                raise StartFailed(f"no worker has {name} = {amount}: {has}", is_transient=is_transient)
        load = self.load()
        used: dict[tuple[str, str], int] = {}
        for keeper, drawn in self._where.values():
            for name, amount in drawn.items():
                used[keeper, name] = used.get((keeper, name), 0) + amount
        at = {one.address: self._counted_at(one) for one in usable}
        fitting = [
            one
            for one in usable
            if all(
                amount + sum(used.get((keeper, name), 0) for keeper in at[one.address])
                <= one.resources.get(name, 0.0)
                for name, amount in asked.items()
            )
        ]
        loads = {one.address: sum(load.get(keeper, 0) for keeper in at[one.address]) for one in fitting}
        return min(fitting, key=lambda one: (loads[one.address] / one.threads, one.name), default=None)

    def _counted_at(self, worker: FarWorker) -> set[str]:
        """Return the keepers whose commands a worker carries: its own, and those that its machine has left.

        Those were of workers that have ended, most likely of this one before it was started again.
        """
        owned = {one.keeper for one in self._cluster.workers.values()}
        return {worker.keeper, *(worker.keepers - owned)}

    def load(self) -> dict[str, int]:
        """Return how many attempts each keeper has."""
        load: dict[str, int] = {}
        for keeper, _ in self._where.values():
            load[keeper] = load.get(keeper, 0) + 1
        return load

    def usable(self) -> list[FarWorker]:
        """Return the workers that commands can go to. Raises StartFailed, in words, if there are none."""
        if self._cluster.trouble:
            raise StartFailed(self._cluster.trouble, is_transient=True)
        there = [one for one in self._cluster.workers.values() if one.is_running]
        usable = [one for one in there if one.keeper]
        if usable:
            return usable
        if not there:
            raise StartFailed(f"no worker is at {self._cluster.address}", is_transient=True)
        words = "; ".join(
            sorted({f"worker {one.name}: {one.trouble or 'no answer yet'}" for one in there})[:3]
        )
        # What somebody has to mend is not waited for.
        is_transient = not all(one.is_unfit for one in there)
        raise StartFailed(f"no worker can be used: {words}", is_transient=is_transient)

    def asked_of(self, needs: Mapping[str, int]) -> dict[str, int]:
        """Return which of these resources workers are asked for: those that one declares, or has declared."""
        self._asked |= declared(self._cluster.workers.values()).keys()
        return {name: amount for name, amount in needs.items() if name in self._asked and amount}


class Known:
    """The keepers that may have attempts of ours: on disk, since the next process has to ask all of them."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "keepers.json"
        self._writing = asyncio.Lock()
        #: Since when each cannot be reached; None: it can.
        self._since_s: dict[str, float | None] = dict.fromkeys(self._read())
        #: Whatever was noted before this process is there: it was since the machine started.
        self.is_sure = self._boot == _boot_id() != ""
        #: The next process may be sure: this one notes what it is asked about of before, if it is not sure.
        self._is_stated = self.is_sure
        if not self._path.exists():
            with suppress(OSError):
                self._write([])

    def _read(self) -> list[str]:
        self._boot = ""
        try:
            known = json.loads(self._path.read_text("utf-8"))
            self._boot = str(known["boot"])
            return [name for name in known["keepers"] if isinstance(name, str)]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _write(self, keepers: list[str]) -> None:
        """Replace the file; it is on disk then, and whoever reads it is sure. Raises OSError."""
        new = self._path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"boot": _boot_id(), "keepers": keepers}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._is_stated = True

    def count_path(self, handle: str) -> Path:
        """Return where it is counted how much of an attempt's output was written."""
        return self._path.with_name(f"{handle}.count")

    def note(self, handle: str) -> None:
        """Note that a start is to be asked for: where there is no count, none was. Raises StartFailed."""
        path = self.count_path(handle)
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise StartFailed(f"{error.strerror}: {path}", is_transient=True) from None

    def note_doubt(self, handle: str) -> None:
        """Note an attempt of before if it is not known whether it was asked for. Raises StartFailed."""
        if not self.is_sure:
            self.note(handle)

    def names(self) -> set[str]:
        """Return them all."""
        return {*self._since_s}

    async def add(self, keeper: str) -> None:
        """Note a keeper, before it gets its first attempt. Raises StartFailed."""
        if keeper in self._since_s and self._is_stated:
            return
        async with self._writing:
            if keeper in self._since_s and self._is_stated:  # meanwhile
                return
            try:
                await asyncio.to_thread(self._write, [*dict.fromkeys((*self._since_s, keeper))])
            except OSError as error:
                raise StartFailed(f"{error.strerror}: {self._path}", is_transient=True) from None
            self._since_s[keeper] = None

    def look(self, there: Collection[str], needed: Collection[str], now_s: float, *, gone_s: float) -> None:
        """Note which can be reached; one that could not be for so long has ended all that it ran."""
        for keeper, since_s in [*self._since_s.items()]:
            if keeper in there:
                self._since_s[keeper] = None
            elif since_s is None:
                self._since_s[keeper] = now_s
            elif now_s - since_s > gone_s and keeper not in needed:
                del self._since_s[keeper]


def _boot_id() -> str:
    """Return what tells this run of the kernel from any other; "" if it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
