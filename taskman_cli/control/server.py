"""The server of the control socket, as a part of the scheduler's loop: one descriptor, one turn at a time.

No client can delay a start: each turn does a bounded amount of work and never waits. Clients take turns; what
is not done yet makes the descriptor readable again.
"""

from __future__ import annotations

import os
import select
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from taskman_cli.control.listener import BACKLOG, Listener
from taskman_cli.control.peers import Client, encode_reply, logger, peer_of
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.protocol import MAX_LINE_BYTES, VERSION, ProtocolError, decode
from taskman_cli.errors import EXIT_FAILED, EXIT_NO_SCHEDULER, EXIT_USAGE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from taskman_cli.core.protocol import Request

#: Connections at once.
MAX_CLIENTS = 256
#: So many requests are handled in a turn, and after so many bytes of requests and replies no more of them.
TURN_REQUESTS = 32
TURN_BYTES = 1 << 18
#: So many clients are read from in a turn, each a little; epoll then has others first.
TURN_EVENTS = 16
#: With half a line, or with replies it does not take, a client may be silent for so long.
SILENCE_NS = 30_000_000_000
#: With nothing asked, for so long.
IDLE_NS = 600_000_000_000
#: Without a descriptor to spare, nobody is let in for so long.
PAUSE_NS = 1_000_000_000
#: Of what is wrong with a request, no more is told.
_MOST_WORDS = 500

_ENDED = "internal error: the scheduler dies of this, and the next one begins; its log has more"
_GONE = select.EPOLLHUP | select.EPOLLERR


class ControlServer:
    """Listens, and hands requests to `handle`, those of one client in order, one at a time.

    `handle(request, client)` answers with `client.reply`, at once or later. Replies are held until `flush`,
    so that what a turn did can be made durable first. An error of `handle` is logged and answered.
    """

    def __init__(self, path: Path, owner_uid: int, handle: Callable[[Request, Client], None]) -> None:
        """Listen at `path`, in a directory that we have locked; raises TaskmanError."""
        self._listener = Listener(path)
        self._owner_uid = owner_uid
        self._handle = handle
        self._clients: dict[int, Client] = {}
        #: Those with a request to handle, who has waited longest first, each once.
        self._ready: OrderedDict[Client, None] = OrderedDict()
        #: Those with replies that wait for `flush`, each once.
        self._replied: dict[Client, None] = {}
        self._now_ns = 0
        #: No deadline is earlier; the true one may be later.
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
        """Return the descriptor that is readable when a turn has something to do."""
        return self._poll.fileno()

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock; None: no need."""
        times = [at_ns for at_ns in (self._timer_ns, self._accept_again_ns) if at_ns is not None]
        return min(times, default=None)

    def turn(self, elapsed_ns: int) -> None:
        """Do a part of what there is to do."""
        self._now_ns = elapsed_ns
        has_knock = False
        for fd, mask in self._poll.poll(0, TURN_EVENTS):
            if fd == self._listener.sock.fileno():
                has_knock = True
            elif fd == self._more_fd:
                os.eventfd_read(self._more_fd)
                self._has_more = False
            elif fd in self._clients:
                self._attend(self._clients[fd], mask)
        self._answer_some()
        # Last: a new client may get the number of one that was let go, of whom epoll has just told.
        if self._accept_again_ns is not None and elapsed_ns >= self._accept_again_ns:
            self._accept_again_ns = None
            self._poll.register(self._listener.sock.fileno(), select.EPOLLIN)
            has_knock = True
        if has_knock:
            self._let_in()
        if self._timer_ns is not None and elapsed_ns >= self._timer_ns:
            self._drop_silent()

    def flush(self, elapsed_ns: int) -> None:
        """Send the replies that were given since the last time."""
        self._now_ns = elapsed_ns
        replied, self._replied = self._replied, {}
        for client in replied:
            client.release()
            self._settle(client)

    def close(self) -> None:
        """Let all clients go, those who were not heard with the word to ask again, and unlink the socket."""
        self._listener.unlink()
        for client in self._clients.values():
            client.send()
            if not (client.is_closed or client.is_waiting or client.unread_bytes):
                _say(client.sock, _AGAIN)
            client.sock.close()
            client.is_closed = True
        self._clients.clear()
        with suppress(OSError):  # no descriptor to let them in: they see the end all the same
            for sock in self._listener.accept(BACKLOG):
                _say(sock, _AGAIN)
                sock.close()
        self._listener.sock.close()
        self._poll.close()
        os.close(self._more_fd)

    # --- connections ---

    def _let_in(self) -> None:
        try:
            for sock in self._listener.accept(TURN_EVENTS):
                self._welcome(sock)
        except OSError as error:
            # It stays readable: without a pause the loop would do nothing but try.
            logger.warning("control: nobody can be let in: %s", error.strerror)
            self._accept_again_ns = self._now_ns + PAUSE_NS
            self._poll.unregister(self._listener.sock.fileno())

    def _welcome(self, sock: socket.socket) -> None:
        """Take a connection as a client, or tell it why not."""
        peer = peer_of(sock)
        if peer.uid not in (self._owner_uid, 0):
            words = f"this scheduler is that of uid {self._owner_uid}, and you are uid {peer.uid}"
        elif len(self._clients) >= MAX_CLIENTS:
            words = f"{MAX_CLIENTS} clients are connected, and no more can be: try again later"
        else:
            client = Client(sock, peer, elapsed_ns=self._now_ns, replied=self._note_reply)
            self._clients[sock.fileno()] = client
            self._settle(client)
            return
        logger.debug("control: process %d (uid %d) refused: %s", peer.pid, peer.uid, words)
        _say(sock, _refusal(words, code=EXIT_FAILED))
        sock.close()

    def _attend(self, client: Client, mask: int) -> None:
        if mask & _GONE:
            client.hang_up()
        elif mask & select.EPOLLIN and client.receive():
            client.active_ns = self._now_ns
        self._settle(client)

    def _settle(self, client: Client) -> None:
        """After anything happened to a client: send, let go, queue, watch, as it now stands."""
        if client.sock.fileno() < 0:
            return
        if client.send():
            client.active_ns = self._now_ns
        if client.is_done:
            if client.is_overfull:
                logger.debug("control: process %d dropped: it does not read", client.pid)
            self._let_go(client)
            return
        if client.is_ready:
            self._ready[client] = None
            self._ask_for_turn()
        self._watch(client)
        deadline_ns = _deadline_ns(client)
        if deadline_ns is not None and (self._timer_ns is None or deadline_ns < self._timer_ns):
            self._timer_ns = deadline_ns

    def _watch(self, client: Client) -> None:
        fd = client.sock.fileno()
        if client.is_closed:
            # Its hang-up would be told again and again.
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

    def _let_go(self, client: Client) -> None:
        # Closing does not unregister it while a child that another thread has just forked holds a copy. Its
        # hang-up would then be reported under this number, which the next client may get.
        if client.mask is not None:
            self._poll.unregister(client.sock.fileno())
            client.mask = None
        del self._clients[client.sock.fileno()]
        client.is_closed = True
        client.sock.close()
        if not self._clients:
            self._timer_ns = None

    def _drop_silent(self) -> None:
        """Let those go whose time is over, and find out when the next one's is."""
        for client in list(self._clients.values()):
            deadline_ns = _deadline_ns(client)
            if deadline_ns is not None and deadline_ns <= self._now_ns:
                words = "silent for too long in the middle of a line" if client.lines.is_partial else "idle"
                logger.debug("control: process %d dropped: %s", client.pid, words)
                if not client.unread_bytes:
                    _say(client.sock, _refusal(f"dropped: {words}", code=EXIT_FAILED))
                self._let_go(client)
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
        """Handle one line of a client; return how many bytes it and what it was answered have."""
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
            # The scheduler dies of it: this client is told before it does, the others to ask again.
            if client.asked is request:
                client.refuse(_ENDED, code=EXIT_FAILED)
                client.release()
            raise
        except Exception:
            # One request that cannot be dealt with ends neither the loop nor the connection.
            logger.exception("control: cannot deal with %r of process %d", request.do, client.pid)
            if client.asked is request:
                client.refuse("internal error; the scheduler's log has more", code=EXIT_FAILED)

    def _note_reply(self, client: Client) -> None:
        self._replied[client] = None

    def _ask_for_turn(self) -> None:
        if not self._has_more:
            self._has_more = True
            os.eventfd_write(self._more_fd, 1)


def _deadline_ns(client: Client) -> int | None:
    """Return when a client has been silent for too long; None: it is our turn, not its own."""
    if client.is_closed or client.is_overfull:
        return None
    if client.wants_write:
        return client.active_ns + SILENCE_NS
    if client.is_waiting or client.lines.has_line or client.unread_bytes:
        return None
    return client.active_ns + (SILENCE_NS if client.lines.is_partial else IDLE_NS)


def _refusal(words: str, *, code: int) -> bytes:
    return encode_reply({"ok": False, "error": words, "code": code, "v": VERSION})


#: Said to who was not heard before the scheduler left: nothing of what was asked has been done.
_AGAIN = encode_reply(
    {
        "ok": False,
        "error": "the scheduler is leaving: ask the next one",
        "code": EXIT_NO_SCHEDULER,
        "again": True,
    }
)


def _say(sock: socket.socket, line: bytes) -> None:
    """Send a line to somebody who is let go next; it is lost on one that takes nothing."""
    try:
        sock.send(line)
    except OSError:
        logger.debug("control: a last word was not heard")
