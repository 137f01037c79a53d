"""Both ends of the control socket for tests: a server turned by hand or by a thread, and raw clients."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from wait import wait_until

from taskman_cli.control.place import SOCKET, address_of
from taskman_cli.control.server import ControlServer
from taskman_cli.core.protocol import Request, Wait, encode

if TYPE_CHECKING:
    from pathlib import Path

    from taskman_cli.control.peers import Client

SECOND_NS = 1_000_000_000


class Raw:
    """A client that sends and reads just what it is told to."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with address_of(path) as address:
            self.sock.connect(address)
        self.received = b""

    def send(self, *parts: Request | bytes) -> None:
        self.sock.sendall(b"".join(part if isinstance(part, bytes) else encode(part) for part in parts))

    def fill(self, data: bytes) -> int:
        """Send as much as the socket takes, and return how much that was."""
        self.sock.setblocking(False)
        sent = 0
        try:
            while sent < len(data):
                sent += self.sock.send(data[sent:])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
        self.sock.setblocking(True)
        return sent

    def read(self) -> list[dict[str, Any]]:
        """Return all lines that are there."""
        while select.select([self.sock], [], [], 0)[0]:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                break
            if not data:
                break
            self.received += data
        whole, _, self.received = self.received.rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def is_dropped(self) -> bool:
        """Tell if the server has closed its end; what it sent before that is read and lost."""
        while select.select([self.sock], [], [], 0)[0]:
            try:
                if not self.sock.recv(1 << 16):
                    return True
            except ConnectionResetError:
                return True
        return False

    def close(self) -> None:
        self.sock.close()


class ServerDriver:
    """A server with a clock that stands still, and a handler that answers all but `Wait` at once."""

    def __init__(self, directory: Path, *, owner_uid: int | None = None, at: Path | None = None) -> None:
        """`at`: where the socket itself is, if not in the directory."""
        self.path = directory / SOCKET
        self.now_ns = 1000 * SECOND_NS
        #: What was handed over, in order.
        self.asked: list[tuple[Client, Request]] = []
        #: Those that wait, in order.
        self.waiting: list[Client] = []
        self.more: dict[str, Any] = {}
        self.raws: list[Raw] = []
        owner = os.geteuid() if owner_uid is None else owner_uid
        self.server = ControlServer(self.path, owner, self.handle, at=at)

    def handle(self, request: Request, client: Client) -> None:
        self.asked.append((client, request))
        if isinstance(request, Wait):
            self.waiting.append(client)
        else:
            client.reply({"ok": True, "did": request.do, **self.more})

    def connect(self) -> Raw:
        self.raws.append(Raw(self.path))
        return self.raws[-1]

    def connected(self) -> Raw:
        """Return a client that has been let in."""
        raw = self.connect()
        self.settle()
        return raw

    def is_called(self) -> bool:
        """Tell if the descriptor wants a turn."""
        return bool(select.select([self.server.fileno()], [], [], 0)[0])

    def turn(self, after_s: float = 0.0) -> None:
        self.now_ns += round(after_s * SECOND_NS)
        self.server.turn(self.now_ns)
        self.server.flush(self.now_ns)

    def settle(self) -> int:
        """Turn until there is nothing to do; return how many turns that took."""
        for turns in range(10_000):
            if not self.is_called():
                return turns
            self.turn()
        raise AssertionError("there is always something to do")

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, with a turn when the server wants one and none else."""
        end_ns = self.now_ns + round(seconds * SECOND_NS)
        while (at_ns := self.server.next_timer()) is not None and at_ns <= end_ns:
            self.now_ns = max(self.now_ns, at_ns)
            self.turn()
            assert self.server.next_timer() != at_ns
        self.now_ns = end_ns
        self.settle()

    def clients(self) -> int:
        return len(self.server._clients)

    def close(self) -> None:
        for raw in self.raws:
            raw.close()
        self.server.close()


class Served:
    """A server in a thread of its own, as the scheduler's loop has it."""

    def __init__(self, directory: Path) -> None:
        self.driver = ServerDriver(directory)
        self.turn_s: list[float] = []
        self.counts: Counter[str] = Counter()
        self._is_over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and then the server."""
        os.write(self._end, b".")
        self._thread.join()
        os.close(self._is_over)
        os.close(self._end)
        self.driver.close()

    def wait_for(self, count: int, *, what: str) -> None:
        """Wait until so many requests have been handed over."""
        wait_until(lambda: len(self.driver.asked) >= count, what=what)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.driver.server.fileno(), self._is_over], [], [])
            if self._is_over in ready:
                return
            begin = time.monotonic()
            self.driver.now_ns = time.monotonic_ns()
            self.driver.turn()
            self.turn_s.append(time.monotonic() - begin)
