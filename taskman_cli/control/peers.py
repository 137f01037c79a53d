"""A client as the server sees it: its credentials, its requests, and the replies it has not read yet."""

from __future__ import annotations

import select
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.control.lines import Lines, expects_end
from taskman_cli.control.portions import LongReply, encode_reply, logger
from taskman_cli.core.protocol import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from taskman_cli.core.protocol import Request

#: Portions of a long reply are sent when they are this long together, so that few wake the client.
SENT_BYTES = 1 << 14
#: With this much unread, the next portion of a long reply waits.
PORTION_UNREAD_BYTES = 1 << 16
#: With this much unread, the client's next request waits.
ENOUGH_UNREAD_BYTES = 1 << 18
#: With more than this unread, the client is dropped at the next reply. A single reply may be longer.
MAX_UNREAD_BYTES = 1 << 20
#: At most this much is read from one client in a turn.
READ_BYTES = 1 << 14

# ucred: unix(7)
_CREDENTIALS = struct.Struct("iII")


class Peer(NamedTuple):
    """The process at the other end, as the kernel recorded it at connect(2)."""

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> Peer:
    """Return the credentials of the other end."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid, uid)


class Client:
    """One connection. Handlers use `uid`, `pid`, `reply`, `reply_long`, `refuse` and `is_closed`."""

    def __init__(
        self, sock: socket.socket, peer: Peer, *, elapsed_ns: int, replied: Callable[[Client], None]
    ) -> None:
        self.uid = peer.uid
        self.pid = peer.pid
        self.sock = sock
        self.lines = Lines(MAX_LINE_BYTES)
        #: When it last sent or read something, on the elapsed clock.
        self.active_ns = elapsed_ns
        #: The request that is not answered yet.
        self.asked: Request | None = None
        #: It has closed its sending side, but may still read.
        self.is_at_end = False
        #: The connection is closed.
        self.is_closed = False
        #: It is closed once the pending replies are sent.
        self.is_leaving = False
        #: Too much of what it was sent is unread.
        self.is_overfull = False
        #: The epoll mask it is registered with; None: it is not registered.
        self.mask: int | None = None
        self._replied = replied
        #: Replies that wait for the server's `flush`, and those that can be sent.
        self._held = bytearray()
        self._outgoing = bytearray()
        #: The reply that is made in portions; and what it is told meanwhile, which comes after it.
        self._long: LongReply | None = None
        self._made = bytearray()
        self._behind = bytearray()
        #: How much of what is unread the server has counted.
        self.counted_bytes = 0
        #: Ends of runs that it waits for.
        self._ends_due = 0

    # --- for the handler ---

    def reply(self, reply: Mapping[str, Any], *, final: bool = False) -> None:
        """Answer the current request, now or later; `final`: report the end of a run, at any time.

        The reply is sent with the next `flush`. Answering a client that has disconnected does no harm.
        """
        line = encode_reply({**reply, "final": True} if final else reply)
        if final:
            self._ends_due = max(0, self._ends_due - 1)
        elif self.asked is not None:
            if reply.get("ok") and expects_end(self.asked):
                self._ends_due += 1
            self.asked = None
        elif not self.is_closed:
            logger.error("control: a request of process %d was answered twice", self.pid)
            return
        self.tell(line)

    def reply_long(self, name: str, portions: Iterator[list[Any]]) -> None:
        """Answer the current request with a list, whose items come in portions.

        The server asks for each when nothing else is to be done, and when what came before is mostly read.
        The reply is `{NAME: [ITEM, …], "ok": true}`, or has the error of what `portions` has raised.
        """
        assert self.asked is not None
        about = f"request {self.asked.do!r} of process {self.pid}"
        self.asked, self._long = None, LongReply(name, portions, about=about)

    def refuse(self, words: str, *, code: int, **more: Any) -> None:
        """Answer with an error message and the exit code for the command."""
        self.reply({"ok": False, "error": words, "code": code, **more})

    # --- for the server ---

    @property
    def unread_bytes(self) -> int:
        """Count the bytes of replies that the socket has not accepted."""
        return len(self._held) + len(self._outgoing) + len(self._made) + len(self._behind)

    @property
    def is_waiting(self) -> bool:
        """Tell if it waits for a reply or for the end of a run."""
        return self.asked is not None or self._long is not None or self._ends_due > 0

    @property
    def is_ready(self) -> bool:
        """Tell if its next line can be handled. Requests of a client that has disconnected are dropped."""
        return (
            not self.is_closed
            and self.lines.has_line
            and self.asked is None
            and self._long is None
            and not self.is_leaving
            and self.unread_bytes <= ENOUGH_UNREAD_BYTES
        )

    @property
    def wants_portion(self) -> bool:
        """Tell if the next portion of a long reply can be made."""
        return (
            self._long is not None
            and not self.is_closed
            and not self._held
            and len(self._outgoing) + len(self._made) <= PORTION_UNREAD_BYTES
        )

    def make_portion(self) -> None:
        """Make the next portion of a long reply; with the last, or with enough of them, let them be sent."""
        assert self._long is not None
        self._made += self._long.piece()
        is_over = self._long.is_over
        if is_over:
            self._long = None
            self._made += self._behind
            self._behind.clear()
        if is_over or len(self._made) >= SENT_BYTES:
            self._outgoing += self._made
            self._made.clear()

    @property
    def is_done(self) -> bool:
        """Tell if the connection can be closed."""
        if self.is_closed or self.is_overfull:
            return True
        is_over = self.is_leaving or (self.is_at_end and not self.lines.has_line and not self.is_waiting)
        return is_over and not self.unread_bytes

    @property
    def wants_read(self) -> bool:
        """Tell if more may be read: not while a line waits, so that no client can fill the memory."""
        return not (self.is_at_end or self.is_leaving or self.lines.has_line)

    @property
    def wants_write(self) -> bool:
        """Tell if replies wait until the socket is writable."""
        return bool(self._outgoing)

    def tell(self, line: bytes) -> None:
        """Send a line with the next flush."""
        if not self.is_closed:
            self.is_overfull = self.unread_bytes > MAX_UNREAD_BYTES
            if self._long is not None:
                self._behind += line
            else:
                self._held += line
            self._replied(self)

    def release(self) -> None:
        """Make the held replies ready to be sent."""
        self._outgoing += self._held
        self._held.clear()

    def send(self) -> bool:
        """Send as much as the socket accepts; tell if that was anything."""
        has_sent = False
        while self._outgoing and not self.is_closed:
            try:
                sent = self.sock.send(self._outgoing)
            except BlockingIOError:
                break
            except OSError:
                self.hang_up()
                break
            del self._outgoing[:sent]
            has_sent = True
        return has_sent

    def receive(self) -> bool:
        """Read what has arrived, up to `READ_BYTES`; tell if that was anything."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self.lines.feed(data)
            return True
        self.is_at_end = True
        self.lines.finish()
        return False

    def has_left(self) -> bool:
        """Tell if the client has closed the connection, and not only its sending side."""
        poll = select.poll()
        poll.register(self.sock.fileno(), 0)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Note that the client has disconnected: drop its requests and replies."""
        self.is_at_end = self.is_closed = True
        self._long = None
        for unread in (self._held, self._outgoing, self._made, self._behind):
            unread.clear()
