"""Passes on how far attempts are, not too often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.executors.orders import short

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from taskman_cli.executors.carried import Carried

#: The shortest time between two messages about one attempt.
_PROGRESS_S = 0.2


class Progress:
    """Tells the supervisor of it. Used on the loop's thread only."""

    def __init__(self, say: Callable[..., None], loop: asyncio.AbstractEventLoop) -> None:
        """`say` tells the supervisor something."""
        self._say = say
        self._loop = loop

    def note(self, carried: Carried, part: float | None, words: str) -> None:
        """Pass on how far an attempt is, now or in a moment."""
        known = None if part is None else min(1.0, max(0.0, float(part)))
        carried.progress = known, short(words)
        if not carried.is_telling:
            self._tell(carried)

    def _tell(self, carried: Carried) -> None:
        carried.is_telling = False
        if carried.progress is not None:
            part, words = carried.progress
            carried.progress = None
            self._say("progress", carried.key, part, words)
            carried.is_telling = True
            self._loop.call_later(_PROGRESS_S, self._tell, carried)
