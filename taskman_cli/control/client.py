"""The client of the control socket: small and blocking, for commands that send a few requests and exit.

There may be no scheduler for a moment while the next one starts (`taskman restart`, a crash): `reach`.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli.control.lines import Lines, expects_end
from taskman_cli.control.place import SOCKET
from taskman_cli.control.reach import ANSWER_S, reach
from taskman_cli.core.protocol import (
    MAX_LINE_BYTES,
    VERSION,
    CollectMetrics,
    ListJobs,
    Show,
    Status,
    Wait,
    encode,
)
from taskman_cli.errors import (
    EXIT_FAILED,
    ControlError,
    SchedulerGone,
    SchedulerUnresponsive,
    TaskmanError,
)
from taskman_cli.instance.directory import INSTANCES, instance_names
from taskman_cli.instance.ephemeral import running_ephemeral
from taskman_cli.instance.lock import holder
from taskman_cli.instance.silence import STOPPED, in_words, is_starting, state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from taskman_cli.core.protocol import Request

#: After this much silence the client checks whether the scheduler is working.
SILENCE_S = 3.0
#: A working scheduler answers a new connection within this time.
_PROBE_S = 1.0
#: How many schedulers may exit, one after the other, during one request.
_MOST_GONE = 3
_READ_BYTES = 1 << 16
#: Requests that change nothing. They are sent to the next scheduler again if no answer came.
_HARMLESS = (Status, CollectMetrics, ListJobs, Show, Wait)
#: The warning for any other request that was not answered.
_MAY_STILL_BE_DONE = "; the request is dropped unless it was already recorded: check before you repeat it"
#: A line that every version answers at once, with an error.
_PROBE = b"\n"


def connect(directory: Path, *, patience_s: float | None = None) -> Connection:
    """Connect to the scheduler of a state directory. Raises NoScheduler if there is none.

    Without `patience_s`, one that is just loading its jobs is waited for.
    """
    return Connection(directory, reach(directory, patience_s), patience_s=patience_s)


def running_directories(base: Path) -> list[Path]:
    """Return the state directories that are in use now: `base` first, then instances by name.

    If there are none, return the throw-away ones of `run --ephemeral`.
    """
    return kept_directories(base) or running_ephemeral(os.environ)


def kept_directories(base: Path) -> list[Path]:
    """Return the state directories in use that are kept: `base` first, then instances by name."""
    places = [base, *(base / INSTANCES / name for name in instance_names(base))]
    return [place for place in places if _is_held(place)]


class Connection:
    """A connection to a scheduler. It connects again when the scheduler exits."""

    def __init__(self, directory: Path, sock: socket.socket, *, patience_s: float | None = None) -> None:
        self._directory = directory
        self._sock = sock
        self._patience_s = patience_s
        self._lines = Lines()
        self._pid, self.uid = _listener_of(sock)
        #: This connection waits for the end of a run, which would not arrive on a new one.
        self._has_promise = False
        #: What is made of each item of the list in a long reply; what has come of that; and its beginning.
        self._each: Callable[[Any], object] | None = None
        self._items: list[object] = []
        self._head = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What was requested goes on."""
        self._sock.close()

    def ask(
        self, request: Request, *, timeout_s: float = ANSWER_S, each: Callable[[Any], object] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the reply. Raises ControlError if that is an error.

        A long reply has what `each` makes of each item of its list, which is done while the rest comes. It
        begins anew if the scheduler exits meanwhile.

        Raises SchedulerGone if no answer came and the request cannot safely be sent again.
        """
        line = encode(request)
        if len(line) > MAX_LINE_BYTES:
            raise ControlError(
                f"the request is too large: {len(line):,} bytes, and the maximum is {MAX_LINE_BYTES:,} "
                "(is the environment that large?)"
            )
        is_harmless = isinstance(request, _HARMLESS)
        for _ in range(_MOST_GONE):
            self._each, self._items, self._head = each, [], b""
            try:
                reply = self._exchange(line, timeout_s, "" if is_harmless else _MAY_STILL_BE_DONE)
            except SchedulerGone:
                if self._has_promise or not is_harmless:
                    raise
            else:
                if self._has_promise or not reply.get("again"):
                    self._has_promise |= expects_end(request)
                    return self._checked(reply)
            self._connect_again()
        raise SchedulerGone(f"the scheduler with the state in {self._directory} keeps exiting")

    def read(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the next line that the scheduler sends unasked: the end of a run that was waited for.

        Raises TimeoutError after `timeout_s` of silence, SchedulerUnresponsive if the scheduler is stopped,
        and SchedulerGone if it has left; the next one can be asked with `Wait`.
        """
        left_s, was_stopped = timeout_s, False
        while True:
            try:
                return self._checked(self._receive("exited", SILENCE_S if left_s is None else left_s))
            except TimeoutError:
                left_s = None if left_s is None else left_s - SILENCE_S
                if left_s is not None and left_s <= 0:
                    raise
                is_stopped = state_of(self._pid) in STOPPED
                if is_stopped and was_stopped:  # twice, so it is not stopped for just a moment
                    raise SchedulerUnresponsive(in_words(self._pid)) from None
                was_stopped = is_stopped

    def _exchange(self, line: bytes, timeout_s: float, warning: str) -> dict[str, Any]:
        gone = "exited before it answered: check whether it carried out the request before you repeat it"
        silent_s = 0.0
        self._sock.settimeout(min(timeout_s, SILENCE_S))
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._sock.sendall(line)  # what it sent before it closed can still be read
            while True:
                try:
                    return self._receive(gone, timeout_s - silent_s)
                except TimeoutError:
                    silent_s = min(silent_s + SILENCE_S, timeout_s)
                    if silent_s >= timeout_s or not self._is_working():
                        raise
        except TimeoutError:
            silent_s = silent_s or min(timeout_s, SILENCE_S)
            raise SchedulerUnresponsive(
                f"no answer for {round(silent_s, 2):g} s: {in_words(self._pid)}{warning}"
            ) from None

    def _is_working(self) -> bool:
        """Tell if the scheduler is working and merely slow with this request."""
        if state_of(self._pid) in STOPPED:
            return False
        if is_starting(self._pid):
            return True
        try:
            with reach(self._directory, 0) as sock:
                sock.settimeout(_PROBE_S)
                sock.sendall(_PROBE)
                return bool(sock.recv(1))
        except (OSError, TaskmanError):
            return False

    def _receive(self, gone: str, patience_s: float) -> dict[str, Any]:
        """Return the next line. Raises SchedulerGone with the message `gone` if the connection is closed.

        Raises TimeoutError after `patience_s` or `SILENCE_S` of silence, whichever is shorter.
        """
        self._sock.settimeout(min(patience_s, SILENCE_S))
        while not self._lines.has_line:
            try:
                data = self._sock.recv(_READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data:
                raise SchedulerGone(f"the scheduler with the state in {self._directory} {gone}")
            self._lines.feed(data)
            if self._each is not None:
                self._take_part()
        reply = self._decoded(self._head + (self._lines.take() or b""))
        if not isinstance(reply, dict):
            raise self._is_not_ours()
        if self._each is not None:
            for name, value in reply.items():
                if isinstance(value, list):
                    reply[name] = [*self._items, *map(self._each, value)]
            self._each, self._items, self._head = None, [], b""
        return reply

    def _take_part(self) -> None:
        """Take the items of a long reply that have come."""
        part = self._lines.take_part()
        if part is None:
            return
        if not self._head:
            head, bracket, part = part.partition(b"[")
            self._head = head + bracket
        items = self._decoded(b"[" + part + b"]") if self._head.startswith(b"{") else None
        if items is None:
            raise self._is_not_ours()
        assert self._each is not None
        self._items += map(self._each, items)

    @staticmethod
    def _decoded(line: bytes) -> Any:
        """Return what a line says; None: it is no JSON."""
        try:
            return json.loads(line, object_hook=_Reply)
        except ValueError:
            return None

    def _is_not_ours(self) -> ControlError:
        return ControlError(f"what listens on {self._directory / SOCKET} is not taskman")

    def _checked(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Return the reply, or raise the error that it contains."""
        if reply.get("ok") is True:
            return reply
        version = reply.get("v", VERSION)
        if version != VERSION:
            raise ControlError(
                f"the scheduler with the state in {self._directory} is another version of taskman: it speaks "
                f"version {version} of the protocol, and this one {VERSION} (run `taskman restart`)"
            )
        code = reply.get("code")
        raise ControlError(
            str(reply.get("error", "refused, and the scheduler does not say why")),
            exit_code=code if isinstance(code, int) and 0 < code < 256 else EXIT_FAILED,
            report=str(reply.get("errors") or ""),
        )

    def _connect_again(self) -> None:
        self.close()
        self._lines = Lines()
        self._sock = reach(self._directory, self._patience_s)
        self._pid, self.uid = _listener_of(self._sock)


class _Reply(dict[str, Any]):
    """An object of a reply. A missing key means that the scheduler is another version."""

    def __missing__(self, key: str) -> Any:
        raise ControlError(
            f"the scheduler is another version of taskman: its answer has no {key!r} "
            "(run `taskman restart` to replace it with this version)"
        )


def _listener_of(sock: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the process that listens at the other end, from the kernel (ucred: unix(7))."""
    pid, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _is_held(directory: Path) -> bool:
    try:
        return holder(directory) is not None
    except TaskmanError:
        return False  # it belongs to another user
