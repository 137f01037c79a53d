"""Web servers that receive results: one that takes all, a slow one, one that hangs, is down, or refuses."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Arrival(NamedTuple):
    """A message that has come."""

    key: str
    seqs: tuple[int, ...]
    jobs: tuple[str, ...]
    events: tuple[str, ...]
    #: The first report.
    first: dict[str, Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Say nothing about clients that were killed."""


class Receiver:
    """A server on this machine, and what has come to it; its manner can be changed while it runs."""

    def __init__(self, manner: str = "ok", *, delay_s: float = 0.05) -> None:
        """`manner`: "ok", "slow", "hang", "down" or "refuse"."""
        self.manner = manner
        self.delay_s = delay_s
        self.arrivals: list[Arrival] = []
        self._lock = threading.Lock()
        self._go_on = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with suppress(OSError):
                    receiver.take(self)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request as is its manner."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        manner = self.manner
        if manner == "down":
            handler.connection.close()
            return
        if manner == "hang":
            self._go_on.wait(60)
            return  # without an answer: nothing was taken
        if manner == "slow":
            threading.Event().wait(self.delay_s)
        reports = body.get("reports") or [body]
        with self._lock:
            self.arrivals.append(
                Arrival(
                    handler.headers["Idempotency-Key"],
                    tuple(report["seq"] for report in reports),
                    tuple(report["job"] or "" for report in reports),
                    tuple(report["event"] for report in reports),
                    reports[0],
                )
            )
        handler.send_response(500 if manner == "refuse" else 200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def heal(self) -> None:
        """Take all from now on."""
        self.manner = "ok"
        self._go_on.set()

    @property
    def seqs(self) -> list[int]:
        """Return what has come, in order, each the first time."""
        with self._lock:
            return list(dict.fromkeys(seq for arrival in self.arrivals for seq in arrival.seqs))

    @property
    def events(self) -> list[tuple[str, ...]]:
        """Return the events that have come, message by message; one that came again counts once."""
        with self._lock:
            return list({arrival.key: arrival.events for arrival in self.arrivals}.values())

    def close(self) -> None:
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receivers(*manners: str) -> Iterator[list[Receiver]]:
    """Run some servers."""
    found = [Receiver(manner) for manner in manners]
    try:
        yield found
    finally:
        for receiver in found:
            receiver.close()
