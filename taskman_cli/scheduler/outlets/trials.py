"""Messages of `taskman sinks test`: somebody waits for what comes of each, and is told within seconds if the
process of the sinks does not even say that it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.scheduler.outlets.link import Link

#: After so long the process is asked whether it is there, and after as long again it is taken not to be.
PATIENCE_NS = 3 * SECOND_NS
_SILENT = (
    "the process of the sinks does not answer: it is stopped, or the machine is too busy; it is killed and "
    "replaced if it says nothing for a minute while it has something to deliver"
)
_ABSENT = "the process of the sinks could not be started yet (no process or memory for it): try again"
_DIED = "the process of the sinks has died: try again"


@dataclass(slots=True)
class _Trial:
    """A message, and who waits for what comes of it."""

    message: tuple[Any, ...]
    tell: Callable[[bool, str], None]
    #: When to look after the process, on the elapsed clock; and when it was asked, None: it was not.
    look_ns: int
    asked_ns: int | None = None
    is_sent: bool = False


class Trials:
    """The messages that nothing has come of yet."""

    def __init__(self, link: Link, say: Callable[..., None]) -> None:
        self._link = link
        self._say = say
        self._waiting: dict[int, _Trial] = {}

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self._waiting)

    def add(
        self, number: int, message: tuple[Any, ...], tell: Callable[[bool, str], None], elapsed_ns: int
    ) -> None:
        """Send a message; `tell` is called with whether it was taken, and the answer."""
        self._waiting[number] = _Trial(message, tell, elapsed_ns + PATIENCE_NS)
        self.send()

    def send(self) -> None:
        """Send what waits for a process, if there is one."""
        if not self._link.is_open:
            return
        for trial in self._waiting.values():
            if not trial.is_sent:
                trial.is_sent = True
                self._say(*trial.message)

    def heard(self, number: int, words: str, *, is_taken: bool) -> bool:
        """Take what came of a message, if it is one of these."""
        trial = self._waiting.pop(number, None)
        if trial is not None:
            trial.tell(is_taken, words)
        return trial is not None

    def give_up(self) -> None:
        """Tell all that wait that the process has died."""
        waiting, self._waiting = self._waiting, {}
        for trial in waiting.values():
            trial.tell(False, _DIED)

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        return min((trial.look_ns for trial in self._waiting.values()), default=None)

    def turn(self, elapsed_ns: int) -> None:
        """Ask a process that says nothing whether it is there; if it does not answer, wait no more."""
        for number, trial in list(self._waiting.items()):
            if elapsed_ns < trial.look_ns:
                continue
            trial.look_ns = elapsed_ns + PATIENCE_NS
            asked_ns, trial.asked_ns = trial.asked_ns, elapsed_ns
            if asked_ns is None or self._link.heard_ns >= asked_ns:
                self._say("ping", number)
            else:
                del self._waiting[number]
                trial.tell(False, _SILENT if trial.is_sent else _ABSENT)
