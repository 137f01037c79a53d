"""What the process of an executor says to the supervisor: collected, and sent together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.supervisor.wire import WireError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from taskman_cli.supervisor.wire import Message

#: That an attempt has started is held back this long: a short one has ended by then, which says both.
HOLD_S = 0.002


class Messages:
    """Messages on their way, in the order in which they came."""

    def __init__(self, send: Callable[[Sequence[Message]], None], loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        #: The supervisor knows ends that stand for starts.
        self.is_brief = False
        self._messages: list[Message] = []
        #: The attempts whose start was not told yet, and when that is to be, in order.
        self._starts: dict[str, float] = {}
        #: They are sent at the end of this turn of the loop; a timer looks at the starts.
        self._is_sending = self._has_timer = False

    def say(self, *message: Any) -> None:
        """Send a message with all others of this turn of the loop."""
        # Not each is of an attempt: "condition" comes with a table.
        if self._starts and len(message) > 1 and type(message[1]) is str and message[1] in self._starts:
            self._tell_start(message[1])
        self._messages.append(message)
        self._send_soon()

    def started(self, key: str) -> None:
        """Say that an attempt has started: in a moment, or with what is said of it before that."""
        self._starts[key] = self._loop.time() + HOLD_S
        if not self._has_timer:
            self._has_timer = True
            self._loop.call_later(HOLD_S, self._look)

    def ended(self, key: str, said: dict[str, Any], *, has_started: bool = False) -> None:
        """Say how an attempt has ended; and that it had started, if that is so and was not told yet."""
        if self._starts.pop(key, None) is not None or has_started:
            if self.is_brief:
                said["has_started"] = True
            else:
                self.say("started", key)
        self.say("ended", key, said)

    def _tell_start(self, key: str) -> None:
        del self._starts[key]
        self._messages.append(("started", key))
        self._send_soon()

    def _look(self) -> None:
        """Tell of the starts that were held back for long enough."""
        self._has_timer = False
        now_s = self._loop.time()
        for key, at_s in [*self._starts.items()]:
            if at_s > now_s:
                self._has_timer = True
                self._loop.call_later(at_s - now_s, self._look)
                break
            self._tell_start(key)

    def _send_soon(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._loop.call_soon(self._send_all)

    def _send_all(self) -> None:
        self._is_sending = False
        messages, self._messages = self._messages, []
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
                said: dict[str, Any] = {"error": f"what its executor says cannot be sent: {error}"}
                said["has_started"] = message[2].get("has_started", False)
                self._send([(*message[:2], said)])
