"""The server of the control socket, as a part of the scheduler's loop: one descriptor, one turn at a time.

No client can delay a start: each turn does a bounded amount of work and never blocks. Clients take turns; the
rest of the work makes the descriptor readable again. Long replies are made in portions, between the turns.
"""

from __future__ import annotations

import os
import select
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.control.listener import BACKLOG, Listener
from taskman_cli.control.peers import Client, peer_of
from taskman_cli.control.portions import INTERNAL_ERROR, encode_reply, logger
from taskman_cli.core.clock import earliest
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.protocol import MAX_LINE_BYTES, VERSION, ProtocolError, decode
from taskman_cli.errors import EXIT_FAILED, EXIT_NO_SCHEDULER, EXIT_USAGE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from taskman_cli.core.protocol import Request

#: Clients connected at the same time.
MAX_CLIENTS = 256
#: A turn ends after this many requests, or after this many bytes of requests and replies.
TURN_REQUESTS = 32
TURN_BYTES = 1 << 18
#: Clients that are read from in a turn; in the next turn epoll reports others first.
TURN_EVENTS = 16
#: A client is dropped after this time in the middle of a line, or with replies that it does not read.
SILENCE_NS = 30_000_000_000
#: A client is dropped after this time without a request.
IDLE_NS = 600_000_000_000
#: Without a free descriptor, no client is accepted for this long.
PAUSE_NS = 1_000_000_000
#: The longest error message about a request.
_MOST_WORDS = 500

_ENDED = "internal error: the scheduler crashed on this request and is restarted; see its log"
_GONE = select.EPOLLHUP | select.EPOLLERR


class ControlServer:
    """Listens and passes requests to `handle`, those of one client in order, one at a time.

    `handle(request, client)` answers with `client.reply`, at once or later. Replies are held until `flush`,
    so that the changes of a turn can be made durable first. An exception of `handle` is logged and answered.
    """

    def __init__(
        self,
        path: Path,
        owner_uid: int,
        handle: Callable[[Request, Client], None],
        *,
        at: Path | None = None,
    ) -> None:
        """Listen at `path`, in a directory that this process has locked. Raises TaskmanError.

        `at`: where the socket itself is; None: at `path`.
        """
        self._listener = Listener(path, at)
        self._owner_uid = owner_uid
        self._handle = handle
        self._clients: dict[int, Client] = {}
        #: Clients with a request to handle, the one that has waited longest first.
        self._ready: OrderedDict[Client, None] = OrderedDict()
        #: Clients whose long reply can go on, the one that has waited longest first.
        self._long: OrderedDict[Client, None] = OrderedDict()
        #: Clients with replies that wait for `flush`.
        self._replied: dict[Client, None] = {}
        #: How many bytes of replies the sockets have not accepted.
        self._unread_bytes = 0
        self._now_ns = 0
        #: A lower bound of the next deadline.
        self._timer_ns: int | None = None
        self._accept_again_ns: int | None = None
        self._poll = select.epoll()
        #: Readable while there is something in `_ready`.
        self._more_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._has_more = False
        self._poll.register(self._more_fd, select.EPOLLIN)
        self._poll.register(self._listener.sock.fileno(), select.EPOLLIN)

    # --- for the loop ---

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is work for a turn."""
        return self._poll.fileno()

    def next_timer(self) -> int | None:
        """Return when the next turn is due, on the elapsed clock; None: no deadline."""
        return earliest(self._timer_ns, self._accept_again_ns)

    def waiting_count(self) -> int:
        """Return how many clients have a request to handle."""
        return len(self._ready)

    def unread_bytes(self) -> int:
        """Return how many bytes of replies the clients have not read."""
        return self._unread_bytes

    def turn(self, elapsed_ns: int) -> None:
        """Do a bounded part of the work."""
        self._now_ns = elapsed_ns
        has_waiting = False
        for fd, mask in self._poll.poll(0, TURN_EVENTS):
            if fd == self._listener.sock.fileno():
                has_waiting = True
            elif fd == self._more_fd:
                os.eventfd_read(self._more_fd)
                self._has_more = False
            elif fd in self._clients:
                self._handle_ready(self._clients[fd], mask)
        self._answer_some()
        # Last: a new client may get the descriptor number of one that was closed above.
        if self._accept_again_ns is not None and elapsed_ns >= self._accept_again_ns:
            self._accept_again_ns = None
            self._poll.register(self._listener.sock.fileno(), select.EPOLLIN)
            has_waiting = True
        if has_waiting:
            self._accept_waiting()
        if self._timer_ns is not None and elapsed_ns >= self._timer_ns:
            self._drop_silent()

    @property
    def has_portions(self) -> bool:
        """Tell if there is a long reply whose next portion can be made."""
        return bool(self._long)

    def make_portion(self, elapsed_ns: int) -> None:
        """Make and send one portion of one long reply: between two turns, after `flush`."""
        self._now_ns = elapsed_ns
        client, _ = self._long.popitem(last=False)
        if client.wants_portion:
            client.make_portion()
            self._settle(client)

    def flush(self, elapsed_ns: int) -> None:
        """Send the replies since the last flush."""
        self._now_ns = elapsed_ns
        replied, self._replied = self._replied, {}
        for client in replied:
            client.release()
            self._settle(client)

    def close(self) -> None:
        """Close all connections and unlink the socket. Requests that were not handled are to be repeated."""
        self._listener.unlink()
        for client in self._clients.values():
            client.send()
            if not (client.is_closed or client.is_waiting or client.unread_bytes):
                _send_last(client.sock, _AGAIN)
            client.sock.close()
            client.is_closed = True
        self._clients.clear()
        with suppress(OSError):  # no free descriptor: these clients only see the connection close
            for sock in self._listener.accept(BACKLOG):
                _send_last(sock, _AGAIN)
                sock.close()
        self._listener.sock.close()
        self._poll.close()
        os.close(self._more_fd)

    # --- connections ---

    def _accept_waiting(self) -> None:
        try:
            for sock in self._listener.accept(TURN_EVENTS):
                self._accept(sock)
        except OSError as error:
            # The socket stays readable; without a pause the loop would spin.
            logger.warning("control: no client can be accepted: %s", error.strerror)
            self._accept_again_ns = self._now_ns + PAUSE_NS
            self._poll.unregister(self._listener.sock.fileno())

    def _accept(self, sock: socket.socket) -> None:
        """Accept a connection as a client, or refuse it with a reason."""
        peer = peer_of(sock)
        if peer.uid not in (self._owner_uid, 0):
            words = f"this scheduler belongs to uid {self._owner_uid}, and you are uid {peer.uid}"
        elif len(self._clients) >= MAX_CLIENTS:
            words = f"{MAX_CLIENTS} clients are connected, which is the maximum: try again later"
        else:
            client = Client(sock, peer, elapsed_ns=self._now_ns, replied=self._note_reply)
            self._clients[sock.fileno()] = client
            self._settle(client)
            return
        logger.debug("control: process %d (uid %d) refused: %s", peer.pid, peer.uid, words)
        _send_last(sock, _refusal(words, code=EXIT_FAILED))
        sock.close()

    def _handle_ready(self, client: Client, mask: int) -> None:
        if mask & _GONE:
            client.hang_up()
        elif mask & select.EPOLLIN and client.receive():
            client.active_ns = self._now_ns
        self._settle(client)

    def _settle(self, client: Client) -> None:
        """Send, close, queue or watch a client, as its state now requires."""
        if client.sock.fileno() < 0:
            return
        if client.send():
            client.active_ns = self._now_ns
        self._count_unread(client, client.unread_bytes)
        if client.is_done:
            if client.is_overfull:
                logger.debug("control: process %d dropped: it does not read", client.pid)
            self._drop(client)
            return
        if client.is_ready:
            self._ready[client] = None
            self._ask_for_turn()
        if client.wants_portion:
            self._long[client] = None
        self._watch(client)
        deadline_ns = _deadline_ns(client)
        if deadline_ns is not None and (self._timer_ns is None or deadline_ns < self._timer_ns):
            self._timer_ns = deadline_ns

    def _count_unread(self, client: Client, unread_bytes: int) -> None:
        self._unread_bytes += unread_bytes - client.counted_bytes
        client.counted_bytes = unread_bytes

    def _watch(self, client: Client) -> None:
        fd = client.sock.fileno()
        if client.is_closed:
            # epoll would report its hang-up again and again.
            if client.mask is not None:
                self._poll.unregister(fd)
                client.mask = None
            return
        mask = (select.EPOLLIN if client.wants_read else 0) | (select.EPOLLOUT if client.wants_write else 0)
        if client.mask is None:
            self._poll.register(fd, mask)
        elif mask != client.mask:
            self._poll.modify(fd, mask)
        client.mask = mask

    def _drop(self, client: Client) -> None:
        # Closing does not unregister it while a child that another thread has just forked holds a copy. Its
        # hang-up would then be reported under this number, which the next client may get.
        if client.mask is not None:
            self._poll.unregister(client.sock.fileno())
            client.mask = None
        self._count_unread(client, 0)
        del self._clients[client.sock.fileno()]
        client.is_closed = True
        client.sock.close()
        if not self._clients:
            self._timer_ns = None

    def _drop_silent(self) -> None:
        """Drop clients whose deadline has passed, and find the next deadline."""
        for client in list(self._clients.values()):
            deadline_ns = _deadline_ns(client)
            if deadline_ns is not None and deadline_ns <= self._now_ns:
                words = "silent for too long in the middle of a line" if client.lines.is_partial else "idle"
                logger.debug("control: process %d dropped: %s", client.pid, words)
                if not client.unread_bytes:
                    _send_last(client.sock, _refusal(f"dropped: {words}", code=EXIT_FAILED))
                self._drop(client)
        deadlines = [at_ns for at_ns in map(_deadline_ns, self._clients.values()) if at_ns is not None]
        self._timer_ns = min(deadlines, default=None)

    # --- requests ---

    def _answer_some(self) -> None:
        size_bytes = 0
        for _ in range(TURN_REQUESTS):
            if not self._ready or size_bytes >= TURN_BYTES:
                break
            client, _ = self._ready.popitem(last=False)
            if client.sock.fileno() >= 0 and client.is_ready:
                size_bytes += self._answer(client)
                self._settle(client)
        if self._ready:
            self._ask_for_turn()

    def _answer(self, client: Client) -> int:
        """Handle one line of a client; return the bytes of the request and of its reply."""
        if client.has_left():
            client.hang_up()
            return 0
        unread_bytes = client.unread_bytes
        line = client.lines.take()
        if line is None:
            client.tell(_refusal(f"a line of more than {MAX_LINE_BYTES:,} bytes", code=EXIT_USAGE))
            client.is_leaving = True
            return MAX_LINE_BYTES
        try:
            request = decode(line)
        except ProtocolError as error:
            client.tell(_refusal(str(error)[:_MOST_WORDS], code=EXIT_USAGE))
        else:
            self._hand_over(request, client)
        return len(line) + client.unread_bytes - unread_bytes

    def _hand_over(self, request: Request, client: Client) -> None:
        client.asked = request
        try:
            self._handle(request, client)
        except EngineBroken:
            # The scheduler will exit: this client gets an error, the others are told to repeat their request.
            if client.asked is request:
                client.refuse(_ENDED, code=EXIT_FAILED)
                client.release()
            raise
        except Exception:
            # One request that fails ends neither the loop nor the connection.
            logger.exception("control: request %r of process %d failed", request.do, client.pid)
            if client.asked is request:
                client.refuse(INTERNAL_ERROR, code=EXIT_FAILED)

    def _note_reply(self, client: Client) -> None:
        self._replied[client] = None

    def _ask_for_turn(self) -> None:
        if not self._has_more:
            self._has_more = True
            os.eventfd_write(self._more_fd, 1)


def _deadline_ns(client: Client) -> int | None:
    """Return when a client has been silent for too long; None: it waits for the server."""
    if client.is_closed or client.is_overfull:
        return None
    if client.wants_write:
        return client.active_ns + SILENCE_NS
    if client.is_waiting or client.lines.has_line or client.unread_bytes:
        return None
    return client.active_ns + (SILENCE_NS if client.lines.is_partial else IDLE_NS)


def _refusal(words: str, *, code: int) -> bytes:
    return encode_reply({"ok": False, "error": words, "code": code, "v": VERSION})


#: Sent to clients whose requests were not handled before the scheduler exited.
_AGAIN = encode_reply(
    {
        "ok": False,
        "error": "the scheduler is exiting: repeat the request",
        "code": EXIT_NO_SCHEDULER,
        "again": True,
    }
)


def _send_last(sock: socket.socket, line: bytes) -> None:
    """Send a line before closing a connection; it is lost if the socket does not accept it."""
    try:
        sock.send(line)
    except OSError:
        logger.debug("control: a last message was not sent")
