"""Type "ssh" with the real ssh and an sshd of the tests' own on loopback."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.executor_driver import Attempt, driven, outcome_on, until
from process_table import children, is_alive, is_gone, kill, name_of
from wait import wait_until

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Ended,
    Order,
    Result,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.ssh import make
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.testing import check, in_shell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from taskman_cli.executors.base import Executor

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not _SSHD or not shutil.which("ssh"), reason="sshd and ssh are not installed"),
]
_handles = (f"h-{number}" for number in itertools.count())


class Server:
    """An sshd that lets this user in with a key of the tests' own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("host", "key", "stranger"):
            made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
            subprocess.run(made, check=True)
        shutil.copy(directory / "key.pub", directory / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]
        host_key = (directory / "host.pub").read_text()
        (directory / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (directory / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nUsePAM no\n"
            f"PidFile {directory}/pid\nAuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PrintMotd no\nLogLevel ERROR\nMaxStartups 10:30:100\nMaxSessions 10\n"
            f"SetEnv HOME={directory}/home XDG_STATE_HOME=\n"
        )
        (directory / "home").mkdir()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        assert _SSHD is not None
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [_SSHD, "-D", "-e", "-f", str(self.directory / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, what="sshd listens")
        return process

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def sessions(self) -> list[int]:
        """Return the processes of connections, of which each also has one for its user."""
        return [pid for pid in children(self.process.pid) if name_of(pid) == "sshd"]

    def stop(self) -> None:
        for pid in self.sessions():
            for number in (signal.SIGCONT, signal.SIGTERM):
                kill(pid, number)
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("sshd"))
    try:
        yield running
    finally:
        running.stop()


class Far:
    """Executors of one server."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "user": getpass.getuser(),
            "directory": str(directory / "kept"),
            "options": {
                "Port": str(server.port),
                "IdentityFile": str(server.directory / "key"),
                "IdentitiesOnly": "yes",
                "UserKnownHostsFile": str(server.directory / "known"),
                "GlobalKnownHostsFile": "/dev/null",
                "StrictHostKeyChecking": "yes",
                "ServerAliveInterval": "1",
                "ServerAliveCountMax": "2",
            },
        }

    def executor(self) -> Executor:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        own = self.directory / "own"
        own.mkdir(mode=0o700, exist_ok=True)
        around = Surroundings(directory=own, environ=environ)
        return make(ExecutorDefinition("far", "ssh", settings=self.settings), around)

    def play(self, play: Callable[[Executor], Awaitable[None]]) -> None:
        driven(self.executor, play)

    def outcome(self, order: Order) -> tuple[Result, bytes]:
        """Run one attempt to its end, and remove what is kept of it."""
        return outcome_on(self.executor, order)


@pytest.fixture
def far(server: Server, tmp_path: Path) -> Far:
    return Far(server, tmp_path)


def order(command: str | tuple[str, ...], **more: Any) -> Order:
    return Order(handle=next(_handles), job="j", task="main", run="r", attempt=1, command=command, **more)


def test_commands_on_another_machine_conform(far: Far) -> None:
    check(far.executor, say=in_shell, finds_again=True)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "alone"])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("exit 7", Result(exit_code=7)),
        ("exit 255", Result(exit_code=255)),
        ("kill -KILL $$", Result(signal=signal.SIGKILL)),
    ],
)
def test_exit_codes_and_signals_are_told_apart(
    far: Far, command: str, expected: Result, is_shared: bool
) -> None:
    far.settings["multiplex"] = is_shared
    assert far.outcome(order(command)) == (expected, b"")


def test_ten_megabytes_of_random_bytes_come_complete(far: Far) -> None:
    data = os.urandom(10 << 20)
    (far.directory / "data").write_bytes(data)
    result, output = far.outcome(order(("cat", "data"), cwd=str(far.directory)))
    assert result == Result(exit_code=0)
    assert output == data


def test_words_variables_and_input_arrive_unchanged(far: Far) -> None:
    odd = 'it\'s "\\n" $HOME `x`\n.\n:\n* \udcff é\t '
    data = bytes(range(256)) * 100
    command = ("sh", "-c", 'printf "%s|" "$1" "$ODD"; cat', "sh", odd)
    result, output = far.outcome(order(command, env={"ODD": odd}, stdin=data))
    assert result == Result(exit_code=0)
    assert output == (os.fsencode(odd) + b"|") * 2 + data


def test_a_signal_ends_the_whole_group(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("sleep 1000 & echo $!; wait"))
        attempt.begin()
        await attempt.printed(b"\n")
        await attempt.signal(signal.SIGTERM)
        assert await attempt.result() == Result(signal=signal.SIGTERM)
        await until(lambda: not is_alive(int(attempt.output)))

    far.play(play)


@pytest.mark.parametrize("victim", ["client", "masters", "server"])
def test_what_ends_the_line_ends_the_command(far: Far, victim: str) -> None:
    async def play(executor: Any) -> None:
        attempt = Attempt(executor, order("trap '' TERM HUP; sleep 1000 & echo $!; wait"))
        attempt.begin()
        await attempt.printed(b"\n")
        if victim == "client":
            executor._lines[attempt.order.handle].cut()
        elif victim == "masters":
            for master in executor._masters._masters:
                master.process.kill()
        else:
            for pid in far.server.sessions():
                _kill_tree(pid)
        with pytest.raises(ConnectionLost):
            await attempt.result()
        standing = await attempt.settled()
        assert standing == Absent("the connection broke, and its guard there ended it")
        await until(lambda: not is_alive(int(attempt.output)))
        await executor.forget(attempt.order)

    far.play(play)


def test_a_silent_line_is_given_up_and_the_attempt_followed_by_another(far: Far) -> None:
    """The far side is stopped, as if the network were cut: the command goes on, and so does its output.

    When the server there learns of it in the end, the command must not be killed for writing to nobody.
    """

    async def play(executor: Executor) -> None:
        words = "echo up; until [ -e go ]; do sleep 0.05; done; echo on; sleep 0.2; echo over; exit 4"
        one = order(words, cwd=str(far.directory))
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.printed(b"up")
        processes = [child for pid in far.server.sessions() for child in (pid, *children(pid))]
        stopped = [pid for pid in processes if name_of(pid) == "sshd"]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionLost):
                await attempt.result()
            assert isinstance(await executor.probe(one), Running)
            again = Attempt(executor, one)
            again.begin(is_attached=True)
            await again.started()
        finally:
            for pid in stopped:
                kill(pid, signal.SIGCONT)
        await until(lambda: all(map(is_gone, stopped)), what="they end")
        (far.directory / "go").touch()
        assert await again.result() == Result(exit_code=4)
        assert bytes(again.output) == b"on\nover\n"
        assert await executor.probe(one) == Ended(Result(exit_code=4))
        await executor.forget(one)

    far.play(play)


def test_more_attempts_than_one_connection_takes(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempts = [Attempt(executor, order(f"echo {number}; sleep 0.2")) for number in range(25)]
        for attempt in attempts:
            attempt.begin()
        assert [await attempt.result() for attempt in attempts] == [Result(exit_code=0)] * 25
        assert [bytes(attempt.output) for attempt in attempts] == [b"%d\n" % number for number in range(25)]
        await asyncio.gather(*(executor.forget(attempt.order) for attempt in attempts))

    far.play(play)
    assert list((far.directory / "kept").iterdir()) == []


def _refused(far: Far) -> str:
    with pytest.raises(StartFailed) as caught:
        far.outcome(order("true"))
    return str(caught.value)


def test_a_refused_login_says_what_ssh_says(far: Far) -> None:
    far.settings["options"]["IdentityFile"] = str(far.server.directory / "stranger")
    assert "Permission denied (publickey)" in _refused(far)


def test_an_unknown_host_key_says_what_ssh_says(far: Far) -> None:
    far.settings["options"]["UserKnownHostsFile"] = "/dev/null"
    assert "Host key verification failed" in _refused(far)


def test_a_changed_host_key_says_what_ssh_says(far: Far) -> None:
    known = far.directory / "known"
    key = (far.server.directory / "stranger.pub").read_text()
    known.write_text(f"[127.0.0.1]:{far.server.port} {key}")
    far.settings["options"]["UserKnownHostsFile"] = str(known)
    assert "Host key verification failed" in _refused(far)


def test_nobody_there_says_what_ssh_says(far: Far) -> None:
    far.settings["options"]["Port"] = "1"
    assert "Connection refused" in _refused(far)

    async def play(executor: Executor) -> None:
        standing = await executor.probe(order("true"))
        assert isinstance(standing, Unknown)
        assert "Connection refused" in standing.why

    far.play(play)


def test_nothing_is_left_when_the_executor_is_closed(far: Far) -> None:
    attempts: list[Attempt] = []

    async def play(executor: Executor) -> None:
        attempts.append(Attempt(executor, order("echo $$; exec sleep 1000")))
        task = attempts[0].begin()
        await attempts[0].printed(b"\n")
        await executor.close()
        with pytest.raises(ConnectionLost):
            await task

    far.play(play)
    wait_until(lambda: not is_alive(int(attempts[0].output)))
    wait_until(lambda: not far.server.sessions())


def _kill_tree(pid: int) -> None:
    for child in children(pid):
        if name_of(child) == "sshd":
            kill(child)
    kill(pid)
