"""A real supervisor whose scheduler is the test itself.

The supervisor starts a small program, which hands its end of the socket to the test and then only lives
until the test lets it go or kills it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process_table import descendants, kill
from wait import wait_until

from taskman_cli.supervisor.wire import FD_VARIABLE, Channel, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STAND_IN = f"""
import os, socket, sys
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
fd = int(os.environ[{FD_VARIABLE!r}])
socket.send_fds(control, [os.getpid().to_bytes(4, "big")], [fd])
os.close(fd)
code = control.recv(1)
os._exit(code[0] if code else 0)
"""

#: A supervisor with other numbers in its loop.
_WITH_CONSTANTS = """
import sys
from taskman_cli.supervisor import __main__, limits
vars(limits).update({constants!r})
sys.exit(__main__.main())
"""

#: What tests that do not care give a command.
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

#: What a scheduler sends with "configure": everything at once, and short pauses.
NUMBERS = {"output_grace_ns": 0, "restart_delay_ns": 10**7, "restart_delay_max_ns": 10**8}


def make_spec(directory: Path, argv: Sequence[str], **changes: Any) -> dict[str, Any]:
    """Return a complete spec whose output goes to `directory / "out"`."""
    spec = {
        "argv": list(argv),
        "shell": None,
        "env": ENV,
        "cwd": None,
        "umask": None,
        "nice": 0,
        "user": None,
        "stdin": None,
        "output": "capture",
        "path": str(directory / "out"),
        "max_output": 1 << 20,
    }
    return spec | changes


def sh(script: str) -> list[str]:
    """Return the words that run a shell script."""
    return ["/bin/sh", "-c", script]


@dataclass(frozen=True)
class Left:
    """What is known of a command that a killed supervisor left behind."""

    pid: int
    wall_ns: int
    elapsed_ns: int
    path: str | None
    max_output: int


class SchedulerEnd:
    """The test's end of one scheduler's socket, and the process that stands for that scheduler."""

    def __init__(self, control: socket.socket) -> None:
        control.settimeout(60)
        data, fds, _, _ = socket.recv_fds(control, 4, 1)
        self.pid = int.from_bytes(data, "big")
        self.sock = socket.socket(fileno=fds[0])
        self._control = control
        self._channel = Channel(self.sock)
        self._messages: list[Message] = []
        self.is_at_end = False
        self.hello: dict[str, Any] = self.wait_for("hello")[1]

    def send(self, *messages: Message) -> None:
        self._channel.send(messages)
        while self._channel.wants_write:
            select.select([], [self.sock], [], 60)
            self._channel.flush()

    def start(self, key: str, spec: dict[str, Any], *, meta: Any = b"meta") -> None:
        self.send(("start", key, meta, spec))

    def poll(self) -> list[Message]:
        """Return all messages so far."""
        messages = None if self.is_at_end else self._channel.receive()
        if messages is None:
            self.is_at_end = True
        else:
            self._messages += messages
        return self._messages

    def find(self, kind: str, key: Any = None) -> Message | None:
        for message in self.poll():
            if message[0] == kind and (key is None or message[1] == key):
                return message
        return None

    def wait_for(self, kind: str, key: Any = None) -> Message:
        """Return the first such message, and take it out."""
        message = wait_until(lambda: self.find(kind, key), what=f"{kind} {key}")
        self._messages.remove(message)
        return message

    def run(self, key: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a command, wait for its end and return that."""
        self.start(key, spec)
        end: dict[str, Any] = self.wait_for("ended", key)[2]
        return end

    def fail(self, key: str, spec: Any) -> tuple[int, str, bool]:
        """Start a command that cannot be started; return errno, message and whether it is transient."""
        self.start(key, spec)
        message = self.wait_for("failed", key)
        return message[2], message[3], message[4]

    def signal(self, key: str, number: int, ending: str = "") -> None:
        self.send(("signal", key, int(number), ending))

    def adopt(self, key: str, left: Left, **changes: Any) -> Message:
        """Ask for the adoption of a command; return the answer."""
        told = vars(left) | changes
        names = ("pid", "wall_ns", "elapsed_ns", "path", "max_output")
        self.send(("adopt", key, b"meta", *[told[name] for name in names]))
        answer = wait_until(lambda: self.find("adopted", key) or self.find("gone", key), what=f"adopt {key}")
        self._messages.remove(answer)
        return answer

    def kill(self) -> None:
        """Die as of kill -9; the socket closes with it."""
        self.sock.close()
        self.is_at_end = True
        os.kill(self.pid, signal.SIGKILL)

    def leave(self, code: int = 0) -> None:
        """End by itself with an exit code."""
        self.sock.close()
        self.is_at_end = True
        self._control.send(bytes([code]))

    def close(self) -> None:
        self.sock.close()
        self._control.close()


def start_sleep(scheduler: SchedulerEnd, key: str, directory: Path) -> int:
    """Start a command that lasts; return its pid."""
    scheduler.start(key, make_spec(directory, ["sleep", "60"], path=str(directory / key)))
    pid: int = scheduler.wait_for("started", key)[2]
    return pid


class Supervision:
    """One supervisor process under test, with everything it starts."""

    def __init__(
        self,
        directory: Path,
        *,
        prefix: Sequence[str] = (),
        scheduler: Sequence[str] | None = None,
        constants: Mapping[str, int] | None = None,
        arguments: Sequence[str] = (),
        **popen: Any,
    ) -> None:
        self.directory = directory
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "control"))
        self.listener.listen(8)
        self.listener.settimeout(60)
        self._ends: list[SchedulerEnd] = []
        stand_in = [sys.executable, "-IS", "-c", _STAND_IN, str(directory / "control")]
        self.stderr_path = directory / "stderr"
        with self.stderr_path.open("wb") as stderr:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": stderr} | popen
            program = ["-m", "taskman_cli.supervisor"]
            if constants:
                program = ["-c", _WITH_CONSTANTS.format(constants=dict(constants))]
            command = [sys.executable, *program, *arguments, "--", *(scheduler or stand_in)]
            self.process: subprocess.Popen[bytes] = subprocess.Popen([*prefix, *command], **options)

    @property
    def pid(self) -> int:
        return self.process.pid

    def accept(self) -> SchedulerEnd:
        """Return the next scheduler."""
        end = SchedulerEnd(self.listener.accept()[0])
        self._ends.append(end)
        return end

    def stderr(self) -> str:
        return self.stderr_path.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the supervisor's end; return its exit code."""
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """End whatever this supervision has started and still lives."""
        if self.process.poll() is None:
            # Every process it started comes to it when orphaned, so its children are all there is.
            for _ in range(3):
                for pid in descendants(self.pid):
                    kill(pid)
            self.process.kill()
            self.process.wait(timeout=60)
        for end in self._ends:
            end.close()
        self.listener.close()


def kill_later(request_finalizer: Callable[[Callable[[], None]], None], pid: int) -> None:
    """See to it that a process that outlives its supervisor does not outlive the test."""
    request_finalizer(lambda: kill(pid))
