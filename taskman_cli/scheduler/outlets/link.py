"""The loop's end of the socket to the process of the sinks, which is replaced if it does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, earliest
from taskman_cli.scheduler.logs.loggers import sink_log as logger
from taskman_cli.scheduler.outlets.process import SinkProcess
from taskman_cli.supervisor.wire import Channel, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

#: A process that owes an answer and says nothing for so long is asked, and after as long again replaced.
_PATIENCE_NS = 30 * SECOND_NS
#: Pause before a process is tried again for which there was no descriptor or thread.
_AGAIN_NS = 10 * SECOND_NS


class Link:
    """Sends messages, and hears what the process says; what does not get through is lost."""

    def __init__(
        self, *, is_owed: Callable[[], bool], began: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        """`is_owed` tells whether an answer is waited for; the others are told of processes."""
        self._is_owed = is_owed
        self._began = began
        self._ended = ended
        self._process: SinkProcess | None = None
        self._channel: Channel | None = None
        #: Grows with each change of a descriptor.
        self.generation = 0
        #: When the process was last heard of, on the elapsed clock; and whether it was asked since.
        self._heard_ns = 0
        self._is_asked = False
        #: When it last said anything, on the elapsed clock.
        self.heard_ns = 0
        #: When a process that could not be started is tried again, on the elapsed clock.
        self._again_ns: int | None = None
        self._is_complained = False

    @property
    def is_open(self) -> bool:
        """Tell whether there is a process."""
        return self._channel is not None

    def start(self, elapsed_ns: int) -> None:
        """Have a process started, unless that was done, or was tried just now."""
        if self._process is not None or self._again_ns is not None:
            return
        try:
            self._process = SinkProcess()
        except OSError as error:
            self._again_ns = elapsed_ns + _AGAIN_NS
            if not self._is_complained:
                self._is_complained = True
                words = "sinks: their process cannot be started (%s): it is tried again"
                logger.error(words, error.strerror)
        else:
            self.generation += 1
            self._is_complained = False

    def filenos(self) -> dict[int, bool]:
        """Return the descriptors to wait on, and whether also until they can be written to."""
        found = {self._process.fileno(): False} if self._process else {}
        if self._channel:
            found[self._channel.fileno()] = self._channel.wants_write
        return found

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        doubt_ns = self._heard_ns + _PATIENCE_NS if self._channel and self._is_owed() else None
        return earliest(doubt_ns, self._again_ns)

    def turn(self, ready: set[int], elapsed_ns: int) -> list[tuple[Any, ...]]:
        """Return what the process has said."""
        messages: list[tuple[Any, ...]] = []
        if self._process and self._process.fileno() in ready:
            self._take_process(elapsed_ns)
        if self._channel and self._channel.fileno() in ready:
            messages = self._receive(self._channel, elapsed_ns)
        if self._again_ns is not None and elapsed_ns >= self._again_ns:
            self._again_ns = None
        timer = self.next_timer()
        if timer is not None and elapsed_ns >= timer:
            self._doubt(elapsed_ns)
        return messages

    def say(self, *message: Any) -> None:
        """Send a message, if there is a process. Raises WireError if it cannot be sent at all."""
        if self._channel is not None:
            self._channel.send([message])

    def expect(self, elapsed_ns: int) -> None:
        """Begin to wait for an answer, if none was waited for."""
        if not self._is_owed():
            self._heard_ns, self._is_asked = elapsed_ns, False

    def flush(self) -> None:
        """Send as much as the socket takes."""
        if self._channel:
            self._channel.flush()

    def close(self) -> None:
        """End the process."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.close()
            self._process = None

    def _take_process(self, elapsed_ns: int) -> None:
        assert self._process is not None
        fresh = self._process.take()
        if fresh is None:
            return
        self._lose_process()
        self._channel = Channel(fresh)
        self.generation += 1
        self._heard_ns, self._is_asked = elapsed_ns, False
        self._began()

    def _receive(self, channel: Channel, elapsed_ns: int) -> list[tuple[Any, ...]]:
        self._heard_ns, self._is_asked, self.heard_ns = elapsed_ns, False, elapsed_ns
        try:
            messages = channel.receive()
        except WireError as error:
            logger.error("sinks: what their process says cannot be read (%s)", error)
            messages = None
            if self._process:
                self._process.kill()
        if messages is None:
            self._lose_process()
            return []
        return messages

    def _lose_process(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self.generation += 1
            self._ended()

    def _doubt(self, elapsed_ns: int) -> None:
        """Ask a process that says nothing; replace it if it does not answer."""
        self._heard_ns = elapsed_ns
        if not self._is_asked:
            self._is_asked = True
            self.say("ping", 0)
            return
        self._is_asked = False
        logger.error("sinks: their process does not answer: it is killed, and another one started")
        if self._process:
            self._process.kill()
