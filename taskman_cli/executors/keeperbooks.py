"""What a keeper notes: whose commands there are, what there is to tell, which starts were called off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskman_cli.executors.keptcommand import KeptCommand
    from taskman_cli.supervisor.wire import Channel

#: An executor asks for a start again when an earlier try was called off, never so often in one life.
_MOST_ON_THEIR_WAY = 1000
#: How long a start that was called off stays so.
_CALLED_OFF_S = 3600.0
_MOST_CALLED_OFF = 100_000
#: Earlier than any other time, and not 0, which means that nothing is held back.
_NOW_S = -1.0


class Owner:
    """One executor of one taskman, and its commands."""

    def __init__(self, now_s: float) -> None:
        self.heard_s = now_s
        self.orphan_after_s = 60.0
        #: Its question for news: where to answer, its number, most bytes, until when it waits.
        self.poll: tuple[Channel, int, int, float] | None = None
        #: Until when output alone is held back; 0: nothing is.
        self.hold_until_s = 0.0
        self.commands: dict[str, KeptCommand] = {}

    def ask(self, channel: Channel, number: int, most_bytes: int, *, until_s: float) -> None:
        """Note a question for news: what there is already is told at once."""
        self.poll = channel, number, most_bytes, until_s
        self.hold_until_s = 0.0

    def hold(self, until_s: float) -> None:
        """Hold output back, unless some is held back already, or an end is to be told."""
        if not self.hold_until_s:
            self.hold_until_s = until_s

    def hold_no_longer(self) -> None:
        """There is an end to tell."""
        self.hold_until_s = _NOW_S

    @property
    def has_running(self) -> bool:
        """Tell if a command of it runs that is not being ended."""
        return any(one.is_running and not one.orphaned for one in self.commands.values())

    @property
    def has_news(self) -> bool:
        """Tell if there is something to tell."""
        return any(command.is_followed and command.has_news for command in self.commands.values())

    def news(self, most_bytes: int) -> list[tuple[Any, ...]]:
        """Return what there is to tell: each command gets the same part of the bytes, short ones first."""
        told = [
            (command.kept_bytes, handle, command)
            for handle, command in self.commands.items()
            if command.is_followed and command.has_news
        ]
        told.sort(key=lambda one: one[:2])
        news = []
        for position, (kept_bytes, handle, command) in enumerate(told):
            offset, data = command.piece(max(1, most_bytes // (len(told) - position)))
            most_bytes = max(0, most_bytes - len(data))
            end = command.end if len(data) == kept_bytes else None
            if end is not None:
                command.is_followed = False
            news.append((handle, offset, data, end))
        return news


class CalledOff:
    """Starts that are not carried out any more, should they still arrive."""

    def __init__(self) -> None:
        #: Up to which try, and until when that is known, the oldest first.
        self._tries: dict[str, tuple[int, float]] = {}

    def up_to(self, handle: str) -> int:
        """Return up to which try the starts of a handle were called off."""
        return self._tries.get(handle, (0, 0.0))[0]

    def note(self, handle: str, tries: int, now_s: float) -> None:
        """Call the starts of a handle off, up to this try; 0: all that may be on their way."""
        known = self.up_to(handle)
        self._tries.pop(handle, None)  # to its place by time
        self._tries[handle] = max(tries or known + _MOST_ON_THEIR_WAY, known), now_s + _CALLED_OFF_S
        while self._tries:
            oldest = next(iter(self._tries))
            if len(self._tries) <= _MOST_CALLED_OFF and self._tries[oldest][1] > now_s:
                return
            del self._tries[oldest]

    def drop(self, handle: str) -> None:
        """Forget what was called off: it has been started since."""
        self._tries.pop(handle, None)
