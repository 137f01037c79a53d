"""Serves text over HTTP to a bounded number of scrapers, none of which can hold up the others.

One thread, non-blocking: a scraper that says nothing, sends junk, or reads slowly is dropped in time, or as
soon as others need its place. It knows no clock: every call says what time it is.
"""

from __future__ import annotations

import gzip
import os
import select
import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.control.listener import Listener
from taskman_cli.control.peers import peer_of
from taskman_cli.errors import TaskmanError
from taskman_cli.metrics.http import (
    MOST_REQUEST_BYTES,
    Refusal,
    Wanted,
    answer,
    is_complete,
    read_request,
    refuse,
)
from taskman_cli.metrics.text import Format, render
from taskman_cli.metrics.textfile import open_directory
from taskman_cli.metrics.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.metrics.families import Collected
    from taskman_cli.trust import Trust

#: Connections at the same time: one more takes the place of the oldest.
MOST_CONNECTIONS = 64
#: A request must have come within this time, and its answer be read within this time.
REQUEST_S, ANSWER_S = 10.0, 30.0
#: Connections that are accepted in one turn.
_TURN_ACCEPTS = 64
_BACKLOG = 128
_READ_BYTES = 4_096
#: Pauses before listening is tried again.
_RETRY_S, _RETRY_MAX_S = 0.5, 30.0
#: No trouble is told of before it has lasted this long: the scheduler before may just be closing its socket.
_QUIET_S = 2.0
_PAUSE_S = 1.0


class _Connection:
    """One scraper."""

    def __init__(self, sock: socket.socket, until_s: float) -> None:
        self.sock = sock
        #: It is dropped then.
        self.until_s = until_s
        self.request = bytearray()
        #: It waits for the metrics.
        self.wanted: Wanted | None = None
        #: What it has still to read; None: there is no answer yet. All share the text itself.
        self.left: list[memoryview] | None = None


class Server:
    """Listens at one place, or nowhere."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        """`tell` gets a level and words to be logged."""
        self._tell, self._trouble = tell, Trouble(tell)
        self._poll = select.epoll()
        self._place: str | None = None
        self._trust: Trust | None = None
        self._sock: socket.socket | None = None
        #: Of a Unix socket, and the descriptor of its directory.
        self._listener: Listener | None = None
        self._directory = -1
        self._connections: dict[int, _Connection] = {}
        self._retry_at_s: float | None = None
        self._retry_s = _RETRY_S
        self._since_s = 0.0
        #: No connection is accepted before then: there is no free descriptor.
        self._accept_at_s: float | None = None
        #: What was made of the last collection, by how it is wanted.
        self._made_of: Collected | str | None = None
        self._made: dict[tuple[Format, bool], bytes] = {}

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something for a turn."""
        return self._poll.fileno()

    @property
    def is_waited_for(self) -> bool:
        """Tell whether somebody waits for the metrics."""
        return any(one.wanted is not None for one in self._connections.values())

    def next_timer(self) -> float | None:
        """Return when a turn is wanted at the latest."""
        times = [one.until_s for one in self._connections.values()]
        times += [at_s for at_s in (self._retry_at_s, self._accept_at_s) if at_s is not None]
        return min(times, default=None)

    # --- listening ---

    def listen(self, place: str | None, trust: Trust, now_s: float) -> None:
        """Listen here from now on, and nowhere else."""
        if place == self._place:
            return
        self._stop_listening()
        self._place, self._trust = place, trust
        self._retry_s, self._since_s = _RETRY_S, now_s
        if place is not None:
            self._try(now_s)

    def _try(self, now_s: float) -> None:
        """Listen, or try again later."""
        assert self._place is not None
        self._retry_at_s = None
        try:
            if self._place.startswith("/"):
                self._listen_at_path(Path(self._place))
            else:
                self._sock = _listening(self._place)
        except (OSError, TaskmanError) as error:
            words = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            if now_s - self._since_s >= _QUIET_S:
                self._trouble.bad(
                    f"cannot listen on {self._place}: {words}; no metrics are served until that works"
                )
            self._retry_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, _RETRY_MAX_S)
            return
        assert self._sock is not None
        self._poll.register(self._sock.fileno(), select.EPOLLIN)
        self._trouble.good(f"listening on {self._place}")
        self._tell_where()

    def _listen_at_path(self, path: Path) -> None:
        assert self._trust is not None
        directory, note = open_directory(path.parent, self._trust)
        held = Path(f"/proc/self/fd/{directory}") / path.name
        try:
            self._listener = Listener(held)
        except TaskmanError as error:
            os.close(directory)
            raise TaskmanError(str(error).removeprefix(f"cannot listen on {held}: ")) from error
        self._directory, self._sock = directory, self._listener.sock
        if note:
            self._tell("warning", note)

    def _tell_where(self) -> None:
        """Say where the metrics are, and who can read them besides this machine's users."""
        assert self._sock is not None
        if self._listener is not None:
            self._tell("info", f"at the socket {self._place}")
            return
        host, port = self._sock.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
        self._tell("info", f"at {url}")
        if not ip_address(host).is_loopback:
            self._tell(
                "warning",
                f"everybody who can reach {url} can read the names of the jobs and how they run: "
                "listen on 127.0.0.1, or let a firewall keep others out",
            )

    def _stop_listening(self) -> None:
        if self._sock is not None:
            with suppress(OSError, ValueError):
                self._poll.unregister(self._sock.fileno())
            if self._listener is not None:
                self._listener.unlink()
            self._sock.close()
        if self._directory >= 0:
            os.close(self._directory)
        self._sock = self._listener = None
        self._directory = -1
        self._retry_at_s = self._accept_at_s = None

    def close(self) -> None:
        """Stop listening, and drop all connections."""
        self._stop_listening()
        for one in list(self._connections.values()):
            self._drop(one)

    # --- connections ---

    def turn(self, now_s: float) -> None:
        """Accept, read and send as far as that goes without waiting; drop those whose time is over."""
        if self._retry_at_s is not None and self._retry_at_s <= now_s:
            self._try(now_s)
        for fd, mask in self._poll.poll(0):
            one = self._connections.get(fd)
            if one is not None:
                self._look_at(one, mask, now_s)
        if self._accept_at_s is None or self._accept_at_s <= now_s:
            self._accept_at_s = None
            self._accept(now_s)
        for one in [one for one in self._connections.values() if one.until_s <= now_s]:
            self._drop(one)

    def _accept(self, now_s: float) -> None:
        for _ in range(_TURN_ACCEPTS if self._sock is not None else 0):
            assert self._sock is not None
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._trouble.bad(f"no scraper can be accepted: {error.strerror}", level="warning")
                self._accept_at_s = now_s + _PAUSE_S
                return
            sock.setblocking(False)
            if self._listener is not None and peer_of(sock).uid not in (os.geteuid(), 0):
                with suppress(OSError):
                    sock.send(refuse(Refusal(403, "this socket is for the user of the scheduler")))
                sock.close()
                continue
            if len(self._connections) >= MOST_CONNECTIONS:
                self._drop(self._least_needed())
            self._connections[sock.fileno()] = _Connection(sock, now_s + REQUEST_S)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def _least_needed(self) -> _Connection:
        """Return the connection that makes room: the oldest without a request, else the oldest of all."""
        connections = self._connections.values()
        idle = (one for one in connections if one.wanted is None and one.left is None)
        return next(idle, None) or next(iter(connections))

    def _look_at(self, one: _Connection, mask: int, now_s: float) -> None:
        if mask & (select.EPOLLHUP | select.EPOLLERR):
            self._drop(one)
        elif one.left is not None:
            self._send(one)
        elif one.wanted is not None:
            self._drain(one)
        else:
            self._read(one, now_s)

    def _read(self, one: _Connection, now_s: float) -> None:
        try:
            data = one.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(one)
            return
        one.request += data
        if not is_complete(one.request):
            return
        read = read_request(one.request[: MOST_REQUEST_BYTES + 1])
        one.request.clear()
        one.until_s = now_s + ANSWER_S
        if isinstance(read, Wanted):
            one.wanted = read
        else:
            self._begin_to_send(one, refuse(read))

    def _drain(self, one: _Connection) -> None:
        """Throw away what comes after the request; a scraper that has left does not wait."""
        try:
            if one.sock.recv(_READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        # It may have closed its sending side only: the answer finds out.
        self._poll.modify(one.sock.fileno(), 0)

    def answer(self, found: Collected | str, now_s: float) -> None:
        """Answer all who wait: with the metrics, or why there are none."""
        if found is not self._made_of:
            self._made_of, self._made = found, {}
        for one in list(self._connections.values()):
            if one.wanted is None:
                continue
            wanted, one.wanted = one.wanted, None
            if isinstance(found, str):
                words = f"the scheduler does not say how it is: {found}"
                self._begin_to_send(one, refuse(Refusal(503, words, wanted.is_head)))
            else:
                one.until_s = now_s + ANSWER_S
                body = self._body(found, wanted)
                self._begin_to_send(one, answer(wanted, len(body)), b"" if wanted.is_head else body)

    def _body(self, found: Collected, wanted: Wanted) -> bytes:
        key = wanted.form, wanted.is_gzip
        if key not in self._made:
            plain = self._made.get((wanted.form, False)) or render(found, wanted.form).encode()
            self._made[wanted.form, False] = plain
            if wanted.is_gzip:
                self._made[key] = gzip.compress(plain, 1)
        return self._made[key]

    def _begin_to_send(self, one: _Connection, *parts: bytes) -> None:
        one.left = [memoryview(part) for part in parts if part]
        self._poll.modify(one.sock.fileno(), select.EPOLLOUT)
        self._send(one)

    def _send(self, one: _Connection) -> None:
        assert one.left is not None
        try:
            sent = one.sock.sendmsg(one.left)
        except BlockingIOError:
            return
        except OSError:
            self._drop(one)
            return
        while one.left and sent >= len(one.left[0]):
            sent -= len(one.left.pop(0))
        if one.left:
            one.left[0] = one.left[0][sent:]
            return
        with suppress(OSError):
            # What is left unread when a socket is closed makes the kernel throw the answer away.
            one.sock.recv(_READ_BYTES * 16)
        self._drop(one)

    def _drop(self, one: _Connection) -> None:
        fd = one.sock.fileno()
        with suppress(OSError, ValueError):
            self._poll.unregister(fd)
        self._connections.pop(fd, None)
        one.sock.close()


def _listening(place: str) -> socket.socket:
    """Return a socket that listens at an address with a port."""
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # [::] is all IPv6 addresses, and 0.0.0.0 can be another program's
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, int(port)))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
