"""What the process of an executor says to the supervisor: collected, and sent together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.supervisor.wire import WireError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from taskman_cli.supervisor.wire import Message

#: "started" is held back this long: mostly the end of a short command can then be sent with it.
HOLD_S = 0.002


class Messages:
    """Messages on their way, in the order in which they came."""

    def __init__(self, send: Callable[[Sequence[Message]], None], loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        self._held: list[Message] = []
        #: When the first of them came.
        self._since_s = 0.0
        #: They are sent at the end of this turn of the loop; a timer looks at them.
        self._is_sending = self._has_timer = False

    def say(self, *message: Any) -> None:
        """Send a message with all others of this turn of the loop."""
        self._held.append(message)
        if not self._is_sending:
            self._is_sending = True
            self._loop.call_soon(self._send_all)

    def say_soon(self, *message: Any) -> None:
        """Hold a message back for a moment: mostly another one can go with it."""
        if not self._held:
            self._since_s = self._loop.time()
        self._held.append(message)
        if not self._has_timer:
            self._has_timer = True
            self._loop.call_later(HOLD_S, self._look)

    def _look(self) -> None:
        """Send what was held back for long enough; what came since then has a moment of its own."""
        self._has_timer = False
        left_s = self._since_s + HOLD_S - self._loop.time()
        if self._held and left_s > 0:
            self._has_timer = True
            self._loop.call_later(left_s, self._look)
        else:
            self._send_all()

    def _send_all(self) -> None:
        self._is_sending = False
        messages, self._held = self._held, []
        if not messages:
            return
        try:
            self._send(messages)
        except WireError:  # one of them, from an executor that is not ours: the others are sent
            for message in messages:
                self._send_alone(message)

    def _send_alone(self, message: Message) -> None:
        try:
            self._send([message])
        except WireError as error:
            if message[0] == "ended":
                self._send([(*message[:2], {"error": f"what its executor says cannot be sent: {error}"})])
