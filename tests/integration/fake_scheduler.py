"""A scheduler that says what a test wants, at a real socket: it checks requests as the real one does."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from taskman_cli.control.place import address_of
from taskman_cli.core.protocol import ListJobs, Request, Status, decode
from taskman_cli.instance.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Reply = dict[str, Any]
    Answer = list[Reply] | Callable[[Any], list[Reply]]

SECOND_NS = 1_000_000_000
#: 2026-11-24T04:00:00Z
NOW_NS = 1_795_492_800 * SECOND_NS

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4711,
    "started_ns": NOW_NS - 3_600 * SECOND_NS,
    "now_ns": NOW_NS,
    "files": ["/etc/jobs.toml"],
    "user_crontabs": [],
    "skip_bad": False,
    "state_directory": "/state",
    "jobs": 3,
    "paused": 0,
    "max_workers": 64,
    "running": [],
    "ready": 0,
    "retries": 0,
    "next": [],
    "counters": dict.fromkeys(
        (
            *("started", "succeeded", "failed", "timed_out", "cancelled", "lost", "skipped", "retried"),
            "spawn_waits",
        ),
        0,
    ),
    "stopping": False,
    "ledger": None,
}


def job(name: str, state: str = "waiting", **values: Any) -> dict[str, Any]:
    """Return an item of a list of jobs."""
    item = {
        "job": name,
        "schedule": "every 15s",
        "state": state,
        "slot_ns": NOW_NS + 10 * SECOND_NS,
        "due_ns": NOW_NS + 10 * SECOND_NS,
        "enabled": state != "disabled",
        "pause": None,
        "running": [],
        "queued": 0,
        "tags": [],
        "description": "",
        "once": False,
        "tasks": ["main"],
        "removed_tasks": [],
    }
    return item | values


def end(run: str = "67aw64ddpp", state: str = "succeeded", **values: Any) -> dict[str, Any]:
    """Return how a run ended."""
    codes = {"succeeded": 0, "failed": 3}
    item = {"run": run, "job": "backup", "state": state, "exit_code": codes.get(state), "signal": None}
    return item | {"detail": "exit 3" if state == "failed" else ""} | values


class FakeScheduler:
    """Answers each request with the lines that `answers` has for it, and remembers what was asked."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.requests: list[Request] = []
        self.answers: dict[str, Answer] = {
            Status.do: [STATUS],
            ListJobs.do: [{"jobs": [job("backup"), job("probe")]}],
        }
        #: Hang up after the first line of the answers to these, as a scheduler that dies does.
        self.leaves_after: set[str] = set()
        self._lock_fd = take_lock(directory)
        self._socket = socket.socket(socket.AF_UNIX)
        with address_of(directory / "taskman.sock") as address:
            self._socket.bind(address)
        self._socket.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def request(self) -> Any:
        """Return the last request."""
        return self.requests[-1]

    def free(self) -> None:
        """Let go of the state directory, as a taskman that has left does."""
        os.close(self._lock_fd)
        self._lock_fd = -1

    def close(self) -> None:
        (self.directory / "taskman.sock").unlink(missing_ok=True)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._socket.close()
        if self._lock_fd >= 0:
            self.free()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            try:
                for line in stream:
                    request = decode(line)
                    self.requests.append(request)
                    answer = self.answers[request.do]
                    replies = answer(request) if callable(answer) else answer
                    if request.do in self.leaves_after:
                        self.leaves_after.discard(request.do)
                        stream.write(_line(replies[0]))
                        return
                    stream.write(b"".join(map(_line, replies)))
                    stream.flush()
            except (BrokenPipeError, ConnectionResetError):
                return


def _line(reply: Reply) -> bytes:
    return json.dumps({"ok": True} | reply).encode() + b"\n"


def refusal(words: str, code: int, **values: Any) -> list[Reply]:
    """Return the answer that a request cannot be granted."""
    return [{"ok": False, "error": words, "code": code} | values]
