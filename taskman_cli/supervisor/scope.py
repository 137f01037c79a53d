"""Having systemd make the control group of a command: a scope with limits, over its private socket.

The message is the one that `systemd-run --scope` sends. That program is not used, since it becomes the
command itself: what fails would be told in its words, as the command's output, and another user's groups
would be lost.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from taskman_cli.supervisor.procstat import read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: How long systemd may take.
PATIENCE_S = 5.0
_PAUSE_S = 0.005
_METHOD_CALL, _ERROR = 1, 3
_MOST_BYTES = 1 << 20


def _address() -> str:
    """Return the private socket of the manager of our user; root's is the system's."""
    uid = os.geteuid()
    return "/run/systemd/private" if uid == 0 else f"/run/user/{uid}/systemd/private"


def can_reach() -> bool:
    """Tell if systemd can be asked."""
    return os.access(_address(), os.W_OK, effective_ids=True)


def become_scope(name: str, limits: Mapping[str, Any]) -> None:
    """Ask systemd to move this process to a scope of this name. Raises OSError, in words."""
    until = time.monotonic() + PATIENCE_S
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(_address())
            _ask(sock, name, limits)
    except TimeoutError:
        raise OSError(0, f"systemd does not answer ({_address()})") from None
    except OSError as error:
        if error.errno:
            raise OSError(error.errno, f"{error.strerror}: {_address()}") from None
        raise
    while f"/{name}\n".encode() not in read_proc("/proc/self/cgroup"):
        if time.monotonic() > until:
            raise OSError(0, f"systemd did not make {name} in time")
        time.sleep(_PAUSE_S)


def _ask(sock: socket.socket, name: str, limits: Mapping[str, Any]) -> None:
    sock.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    answer = b""
    while not answer.endswith(b"\r\n"):
        answer += _some(sock)
    if not answer.startswith(b"OK "):
        raise OSError(0, f"systemd does not let us in: {answer[:100].decode('ascii', 'replace').strip()}")
    sock.sendall(b"BEGIN\r\n" + _call(name, limits))
    kind, words = _reply(sock)
    if kind == _ERROR:
        raise OSError(0, f"systemd refused to make {name}: {words}")


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 16)
    if not data:
        raise OSError(0, "systemd closed the connection")
    return data


def _reply(sock: socket.socket) -> tuple[int, str]:
    """Return the kind of the answer, and the words of an error; signals before it are skipped."""
    data = b""
    while True:
        while len(data) < 16:
            data += _some(sock)
        order = "<" if data[:1] == b"l" else ">"
        kind = data[1]
        body_bytes, _, fields_bytes = struct.unpack_from(f"{order}III", data, 4)
        begin = 16 + fields_bytes + -fields_bytes % 8
        if begin + body_bytes > _MOST_BYTES:
            raise OSError(0, "systemd sent what is no answer")
        while len(data) < begin + body_bytes:
            data += _some(sock)
        if kind in (2, _ERROR):
            # An error's body is a string: its length, and the text.
            return kind, data[begin + 4 : begin + body_bytes].rstrip(b"\0").decode("utf-8", "replace")
        data = data[begin + body_bytes :]


class _Body:
    """A D-Bus message being written, little-endian."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, width: int) -> None:
        self.data += bytes(-len(self.data) % width)

    def u32(self, number: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", number)

    def u64(self, number: int) -> None:
        self.align(8)
        self.data += struct.pack("<Q", number)

    def string(self, text: str) -> None:
        self.u32(len(text.encode()))
        self.data += text.encode() + b"\0"

    def signature(self, text: str) -> None:
        self.data += bytes([len(text)]) + text.encode() + b"\0"

    def array(self, width: int, write: Callable[[], None]) -> None:
        """Write an array whose elements, of this alignment, `write` writes."""
        self.u32(0)
        place = len(self.data) - 4
        self.align(width)
        begin = len(self.data)
        write()
        struct.pack_into("<I", self.data, place, len(self.data) - begin)


def _call(name: str, limits: Mapping[str, Any]) -> bytes:
    """Return the call of StartTransientUnit for this process, org.freedesktop.systemd1(5)."""
    body = _Body()
    body.string(name)
    body.string("fail")
    body.array(8, lambda: _properties(body, limits))
    body.array(8, lambda: None)
    head = _Body()
    head.data += bytes([ord("l"), _METHOD_CALL, 0, 1])
    head.u32(len(body.data))
    head.u32(1)
    head.array(8, lambda: _fields(head))
    head.align(8)
    return bytes(head.data + body.data)


def _fields(head: _Body) -> None:
    for number, kind, text in (
        (1, "o", "/org/freedesktop/systemd1"),
        (2, "s", "org.freedesktop.systemd1.Manager"),
        (3, "s", "StartTransientUnit"),
        (6, "s", "org.freedesktop.systemd1"),
        (8, "g", "ssa(sv)a(sa(sv))"),
    ):
        head.align(8)
        head.data.append(number)
        head.signature(kind)
        head.signature(text) if kind == "g" else head.string(text)


def _properties(body: _Body, limits: Mapping[str, Any]) -> None:
    def begin(name: str, kind: str) -> None:
        body.align(8)
        body.string(name)
        body.signature(kind)

    begin("PIDs", "au")
    body.array(4, lambda: body.u32(os.getpid()))
    begin("Description", "s")
    body.string("a command of taskman")
    begin("CollectMode", "s")
    body.string("inactive-or-failed")
    memory, processes, cpu = (limits.get(what) for what in ("memory", "processes", "cpu"))
    for name, value in (
        ("MemoryMax", memory),
        ("MemorySwapMax", None if memory is None else 0),
        ("TasksMax", processes),
        ("CPUQuotaPerSecUSec", None if cpu is None else int(cpu * 1_000_000)),
    ):
        if value is not None:
            begin(name, "t")
            body.u64(value)
