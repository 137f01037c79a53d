"""Removes what an executor keeps of attempts whose ends are on record, beside the attempts that run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from taskman_cli.executors.orders import short

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from taskman_cli.executors.base import Executor, Order

#: How long one clean-up may take.
_FORGET_S = 60.0


class CleanUps:
    """Those on their way. Used on the loop's thread only."""

    def __init__(self, say: Callable[..., None], loop: asyncio.AbstractEventLoop) -> None:
        """`say` tells the supervisor something."""
        self._say = say
        self._loop = loop
        self._chores: set[asyncio.Task[None]] = set()
        #: The last one failed, which was told: an executor that nobody reaches need not say so for each.
        self._has_failed = False

    def do(self, chore: Coroutine[Any, Any, None]) -> None:
        """Do something that `end` waits for."""
        task = self._loop.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def forget(self, ready: Callable[[], Executor], order: Order) -> None:
        """Have the executor, which `ready` returns, remove what is kept of an attempt."""
        self.do(self._forget(ready, order))

    async def _forget(self, ready: Callable[[], Executor], order: Order) -> None:
        try:
            await asyncio.wait_for(ready().forget(order), _FORGET_S)
            self._has_failed = False
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if not self._has_failed:
                self._has_failed = True
                what = f"what is kept of {order.handle} cannot be removed"
                self._say("said", f"{what}: {type(error).__name__}: {short(error)}")

    async def end(self) -> None:
        """Wait for all."""
        if self._chores:
            await asyncio.wait([*self._chores])
