"""What the service manager that started this process is told, by the protocol of sd_notify(3).

It gets datagrams through the socket that NOTIFY_SOCKET names. Nothing is ever waited for: what is not taken
is sent a moment later. Nobody else gets the variables: a command could speak in our name.
"""

from __future__ import annotations

import os
import socket
import time

from taskman_cli.supervisor.voice import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

_SECOND_NS = 1_000_000_000
#: The most bytes of a status.
_MOST_BYTES = 1_000
#: From one attempt to send to the next, if the other side takes nothing; each pause is twice the last one.
RETRY_NS, MAX_RETRY_NS = _SECOND_NS, 60 * _SECOND_NS
#: While stopping, how often it asks for more time, and how much: three times may be missed.
EXTEND_EVERY_NS, EXTEND_NS = 5 * _SECOND_NS, 20 * _SECOND_NS
#: The watchdog is fed this many times in the time that it waits.
FEEDS = 4

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """The service manager as the supervisor sees it; without one, nothing is sent."""

    def __init__(
        self,
        after: Callable[[int, Callable[[], None]], None],
        *,
        is_well: Callable[[], bool],
        environ: MutableMapping[str, str],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Take the variables out of `environ`. `is_well` tells if the progress that was due has been made."""
        address, every_us, pid = (environ.pop(name, "") for name in (SOCKET, WATCHDOG, WATCHDOG_PID))
        self._after, self._is_well, self._clock = after, is_well, clock
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        #: How long its watchdog waits; None: it has none, or watches another process.
        self.watchdog_ns: int | None = None
        if self._socket and every_us.isdecimal() and int(every_us) and pid in ("", str(os.getpid())):
            self.watchdog_ns = int(every_us) * 1_000
        #: Why the scheduler ends, as it says itself; "": it has not said.
        self._trouble = ""
        #: What was not taken yet, by subject: only the latest of each still matters.
        self._unsent: dict[str, str] = {}
        self._retry_ns = RETRY_NS
        self._is_retrying = self._is_up = self._is_stopping = self._is_reloading = False

    @property
    def is_there(self) -> bool:
        """Tell if anybody listens."""
        return self._socket is not None

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()

    def report(self, what: str, words: str = "") -> None:
        """Pass on what the scheduler says: its `status` in words, `reloading`, `reloaded` or `stopping`.

        Or the `trouble` that ends it, which is told with its end.
        """
        if what == "status":
            self.status(words)
        elif what == "trouble":
            self._trouble = words
        elif what == "stopping":
            self.stopping()
        elif what == "reloading" and self._is_up and not self._is_stopping:
            self._is_reloading = True
            self._tell("state", f"RELOADING=1\nMONOTONIC_USEC={self._clock() // 1_000}")
        elif what == "reloaded":
            self._reloaded()

    def status(self, words: str) -> None:
        """Say in one line what goes on."""
        line = "".join(char if char.isprintable() else visible(char) for char in words)
        self._tell("status", f"STATUS={line.encode()[:_MOST_BYTES].decode('utf-8', 'ignore')}")

    def scheduler_died(self, words: str) -> None:
        """Say that a scheduler has died, and what it said of that itself."""
        trouble, self._trouble = self._trouble, ""
        self.status(f"{words}: {trouble}" if trouble else words)

    def scheduler_began(self) -> None:
        """Note that a scheduler has taken the jobs, the first one or another."""
        if not self._is_up:
            self._is_up = True
            self._tell("state", "READY=1")
            if self.watchdog_ns is not None:
                self._feed()
        self._reloaded()  # the last one may have died while it read the files

    def stopping(self) -> None:
        """Say that all ends, and from then on that this may take its time, as long as it gets on."""
        if not self._is_stopping and self._socket is not None:
            self._is_stopping = True
            self._tell("stopping", "STOPPING=1")
            self._extend()

    def _reloaded(self) -> None:
        if self._is_reloading:
            self._is_reloading = False
            self._tell("state", "READY=1")

    def _extend(self) -> None:
        if self._is_well():
            self._tell("", f"EXTEND_TIMEOUT_USEC={EXTEND_NS // 1_000}")
        self._after(EXTEND_EVERY_NS, self._extend)

    def _feed(self) -> None:
        assert self.watchdog_ns is not None
        if self._is_well():
            self._tell("", "WATCHDOG=1")
        self._after(max(1, self.watchdog_ns // FEEDS), self._feed)

    def _tell(self, subject: str, text: str) -> None:
        """Send a text now or later; one without a subject counts only now."""
        if self._socket is None:
            return
        self._unsent.pop(subject, None)
        self._unsent[subject] = text
        if not self._is_retrying:
            self._send(self._socket)
        self._unsent.pop("", None)

    def _send(self, to: socket.socket) -> None:
        self._is_retrying = False
        while self._unsent:
            subject = next(iter(self._unsent))
            try:
                to.sendto(self._unsent[subject].encode(), socket.MSG_NOSIGNAL, self._address)
            except OSError:  # it is full, or not there for a moment
                self._is_retrying = True
                self._after(self._retry_ns, lambda: self._send(to))
                self._retry_ns = min(2 * self._retry_ns, MAX_RETRY_NS)
                return
            del self._unsent[subject]
            self._retry_ns = RETRY_NS
