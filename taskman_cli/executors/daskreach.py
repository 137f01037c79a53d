"""How a cluster stands, as it is told; and while it is away, a look now and then whether it is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from taskman_cli.executors.base import FarWorker, StartFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from taskman_cli.executors.daskcluster import Cluster
    from taskman_cli.executors.daskplaces import Places

#: How many commands run where is told so often at most.
_TELL_S = 1.0
#: Pauses between two looks; they double up to the longest.
_FIRST_S, _LONGEST_S = 0.5, 10.0
#: Starts that wait are tried each minute: without one for so long, nobody waits any more.
_WATCH_S = 150.0


class Reaching:
    """Tells how a cluster stands, as often as that is of use."""

    def __init__(
        self,
        cluster: Cluster,
        places: Places,
        tell: Callable[[str, str, Sequence[FarWorker] | None], None],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        """`refresh` asks anew who is there, and calls `seen`."""
        self._cluster = cluster
        self._places = places
        self._tell = tell
        self._refresh = refresh
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._wanted_s = 0.0
        self._is_closed = False
        self.is_up = False

    def seen(self) -> None:
        """Tell who is there, after that was asked."""
        words = self._cluster.trouble
        workers: list[FarWorker] | None = None
        if not words:
            load = self._places.load()
            usable = [one for one in self._cluster.workers.values() if one.keeper and one.is_running]
            workers = [
                FarWorker(
                    one.name,
                    running=load.get(one.keeper, 0),
                    slots=one.threads,
                    memory_bytes=one.memory_bytes,
                    resources=tuple(sorted(one.resources.items())),
                )
                for one in usable
            ]
            try:
                self._places.usable()
            except StartFailed as error:
                words = str(error)
        self.is_up = not words
        self._tell("down" if words else "up", words, workers)

    def changed(self) -> None:
        """An attempt or a worker has come or gone: tell that in a moment."""
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(_TELL_S, self._tell_later)

    def _tell_later(self) -> None:
        self._timer = None
        self.seen()

    def is_waited_for(self) -> None:
        """A start could not be made: look until the cluster is up again, as long as somebody may wait."""
        if not self.is_up:
            self._wanted_s = asyncio.get_running_loop().time()
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        loop, pause_s = asyncio.get_running_loop(), _FIRST_S
        while not self.is_up and loop.time() - self._wanted_s < _WATCH_S:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)
            await self._refresh()

    async def close(self) -> None:
        """Tell and look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
