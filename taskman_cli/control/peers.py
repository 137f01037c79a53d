"""A client as the server knows it: who it is, what it has asked, what it has not read yet."""

from __future__ import annotations

import json
import logging
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.control.lines import Lines, expects_end
from taskman_cli.core.protocol import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskman_cli.core.protocol import Request

#: While this much waits to be read, the client's next request waits too.
ENOUGH_UNREAD_BYTES = 1 << 18
#: With more than this unread, whoever gets another reply is dropped. One reply may be longer.
MAX_UNREAD_BYTES = 1 << 20
#: So much is read of one client in a turn.
READ_BYTES = 1 << 14

#: The standard library's, by name; `logs.py` is not ours to import.
logger = logging.getLogger("taskman")
# ucred: unix(7)
_CREDENTIALS = struct.Struct("iII")


class Peer(NamedTuple):
    """The process at the other end, as the kernel knows it since it connected."""

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel who is at the other end."""
    data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Peer(pid, uid)


def encode_reply(reply: Mapping[str, Any]) -> bytes:
    """Write a reply as a line."""
    return json.dumps(reply, separators=(",", ":")).encode() + b"\n"


class Client:
    """One connection. What a handler needs is `uid`, `pid`, `reply`, `refuse` and `is_closed`."""

    def __init__(
        self, sock: socket.socket, peer: Peer, *, elapsed_ns: int, replied: Callable[[Client], None]
    ) -> None:
        self.uid = peer.uid
        self.pid = peer.pid
        self.sock = sock
        self.lines = Lines(MAX_LINE_BYTES)
        #: When it last sent something or took something, on the elapsed clock.
        self.active_ns = elapsed_ns
        #: What the handler has not answered yet.
        self.asked: Request | None = None
        #: It sends no more, but may still read.
        self.is_at_end = False
        #: It neither sends nor reads any more.
        self.is_closed = False
        #: It gets what is on its way, and then is let go.
        self.is_leaving = False
        #: It has let too much lie.
        self.is_overfull = False
        #: What epoll watches it for; None: it does not.
        self.mask: int | None = None
        self._replied = replied
        #: Replies that may not be sent before the server's `flush`, and those that may.
        self._held = bytearray()
        self._outgoing = bytearray()
        #: Ends of runs that it still has to be told.
        self._ends_due = 0

    # --- for the handler ---

    def reply(self, reply: Mapping[str, Any], *, final: bool = False) -> None:
        """Answer the request that was handed over, now or later; `final`: tell the end of a run, out of turn.

        It is sent with the next `flush`. One that has gone may be answered all the same.
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

    def refuse(self, words: str, *, code: int, **more: Any) -> None:
        """Answer with an error: what is wrong, and the exit code of the command that asked."""
        self.reply({"ok": False, "error": words, "code": code, **more})

    # --- for the server ---

    @property
    def unread_bytes(self) -> int:
        """Count what it has not taken."""
        return len(self._held) + len(self._outgoing)

    @property
    def is_waiting(self) -> bool:
        """Tell if it has been promised an answer."""
        return self.asked is not None or self._ends_due > 0

    @property
    def is_ready(self) -> bool:
        """Tell if its next line may be looked at. What one asked that has gone since is dropped."""
        return (
            not self.is_closed
            and self.lines.has_line
            and self.asked is None
            and not self.is_leaving
            and self.unread_bytes <= ENOUGH_UNREAD_BYTES
        )

    @property
    def is_done(self) -> bool:
        """Tell if nothing is to be done for it any more."""
        if self.is_closed or self.is_overfull:
            return True
        is_over = self.is_leaving or (self.is_at_end and not self.lines.has_line and not self.is_waiting)
        return is_over and not self.unread_bytes

    @property
    def wants_read(self) -> bool:
        """Tell if more may come in: not while a line waits, so nobody can fill the memory."""
        return not (self.is_at_end or self.is_leaving or self.lines.has_line)

    @property
    def wants_write(self) -> bool:
        """Tell if something waits for the socket to take it."""
        return bool(self._outgoing)

    def tell(self, line: bytes) -> None:
        """Let a line be sent with the next flush."""
        if not self.is_closed:
            self.is_overfull = self.unread_bytes > MAX_UNREAD_BYTES
            self._held += line
            self._replied(self)

    def release(self) -> None:
        """Let what was held be sent."""
        self._outgoing += self._held
        self._held.clear()

    def send(self) -> bool:
        """Hand on as much as the socket takes; tell if that was anything."""
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
        """Read a piece of what is there; tell if that was anything."""
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
        """Tell if it has gone by now; one that only sends no more has not."""
        poll = select.poll()
        poll.register(self.sock.fileno(), 0)
        return bool(poll.poll(0))

    def hang_up(self) -> None:
        """Take note that it has gone: it can be told nothing any more, and what it asked for is dropped."""
        self.is_at_end = self.is_closed = True
        self._held.clear()
        self._outgoing.clear()
