"""Type "container" with a real dockerd, as docker.io of Debian brings it."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from container_engine import IMAGE, Daemon, Engine, Podman, dockerd, podman, why_no_podman, why_not
from integration.executor_driver import Attempt, driven
from wait import wait_until

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors import programs
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
from taskman_cli.executors.container import make
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.testing import check, in_shell

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from taskman_cli.executors.base import Executor

pytestmark = pytest.mark.real
_handles = (f"h-{number}" for number in itertools.count())


_needs_docker = pytest.mark.skipif(bool(why_not()), reason=why_not())
_needs_podman = pytest.mark.skipif(bool(why_no_podman()), reason=why_no_podman())


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(dockerd, marks=_needs_docker, id="docker"),
        pytest.param(podman, marks=_needs_podman, id="podman"),
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with request.param() as running:
        yield running


class Box:
    """Executors of one daemon."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.settings: dict[str, Any] = {
            "image": IMAGE,
            "network": "none",
            "pull": "never",
            **engine.settings,
        }

    def executor(self) -> Executor:
        environ = {"PATH": os.environ["PATH"], "HOME": "/root", **self.engine.environ}
        around = Surroundings(directory=self.directory, environ=environ, instance="i", ledger="l")
        return make(ExecutorDefinition("box", "container", settings=self.settings), around)

    def play(self, play: Callable[[Executor], Awaitable[None]]) -> None:
        driven(self.executor, play)

    def outcome(self, order: Order) -> tuple[Result, bytes]:
        """Run one attempt to its end, and remove what is kept of it."""
        found: list[tuple[Result, bytes]] = []

        async def play(executor: Executor) -> None:
            attempt = Attempt(executor, order)
            attempt.begin()
            try:
                found.append((await attempt.result(), bytes(attempt.output)))
                assert attempt.starts == 1
            finally:
                await executor.forget(order)

        self.play(play)
        return found[0]


@pytest.fixture
def box(engine: Engine, tmp_path: Path) -> Iterator[Box]:
    yield Box(engine, tmp_path)
    assert engine.containers() == []
    wait_until(lambda: not engine.keepers(), what="the end of what kept containers")
    assert list(tmp_path.iterdir()) == []


def order(command: str | tuple[str, ...], **more: Any) -> Order:
    return Order(handle=next(_handles), job="j", task="main", run="r", attempt=1, command=command, **more)


def test_containers_conform_but_for_what_an_engine_cannot(box: Box) -> None:
    # An engine tells a signal as an exit code, and takes no bytes that are no UTF-8. A container goes on
    # when its executor is closed.
    without = ["signals", "environment", "odd commands", "closed while it runs"]
    check(box.executor, say=in_shell, finds_again=True, without=without)
    for container in box.engine.containers():
        box.engine.run("rm", "--force", container)
    for path in box.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@_needs_podman
def test_one_that_is_given_up_amid_its_start_leaves_no_process(
    engine: Engine, box: Box, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not isinstance(engine, Podman):
        pytest.skip("a docker daemon does not end with its client")
    place = tmp_path_factory.mktemp("runtime")
    slow = place / "runc"
    slow.write_text(f"""#!/bin/sh
runc "$@"
code=$?
case $* in *create*) : >"{place}/created"; sleep 1 ;; esac
exit $code
""")
    slow.chmod(0o755)
    options = [str(slow) if word == "runc" else word for word in engine.settings["engine_options"]]
    box.settings["engine_options"] = options

    async def play(executor: Executor) -> None:
        task = Attempt(executor, order("sleep 1000")).begin()
        while not (place / "created").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    box.play(play)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("true", Result(exit_code=0)),
        (("sh", "-c", "exit 7"), Result(exit_code=7)),
        ("exit 137", Result(exit_code=137)),
        ("kill -KILL $$", Result(exit_code=137)),
    ],
)
def test_exit_codes_come_as_the_engine_tells_them(
    box: Box, command: str | tuple[str, ...], expected: Result
) -> None:
    assert box.outcome(order(command)) == (expected, b"")


def test_output_and_errors_come_as_they_are(box: Box) -> None:
    result, output = box.outcome(order("printf 'a\\000\\377'; echo b >&2"))
    assert result == Result(exit_code=0)
    assert sorted(output) == sorted(b"a\0\xffb\n")


def test_a_program_that_is_not_there_fails_in_the_words_of_the_init(box: Box) -> None:
    result, output = box.outcome(order(("nope",)))
    assert result == Result(exit_code=127 if isinstance(box.engine, Daemon) else 1)
    assert b"No such file or directory" in output


def test_ten_megabytes_come_complete(box: Box) -> None:
    result, output = box.outcome(order("head -c 10485760 /dev/zero"))
    assert (result, len(output)) == (Result(exit_code=0), 10 << 20)


def test_words_variables_input_and_directory_arrive_unchanged(box: Box) -> None:
    odd = 'it\'s "\\n" $HOME `x`\n.\n* é\t '
    command = ("sh", "-c", 'pwd; printf "%s|" "$1" "$ODD" "$ONE"; cat', "sh", odd)
    one = order(command, env={"ODD": odd, "ONE": " # 'x' "}, stdin=bytes(range(256)) * 300, cwd="/bin")
    result, output = box.outcome(one)
    assert result == Result(exit_code=0)
    assert output == b"/bin\n" + odd.encode() + b"|" + odd.encode() + b"| # 'x' |" + bytes(range(256)) * 300


def test_the_user_of_a_job_is_its_number(box: Box) -> None:
    assert box.outcome(order("id -u; id -g; id -G", user=(1234, 5678, (5678, 9)))) == (
        Result(exit_code=0),
        b"1234\n5678\n5678 9\n",
    )


def test_a_container_tells_whose_it_is(box: Box) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo up; sleep 1000", env={"A": "SECRET"}))
        attempt.begin()
        await attempt.started()
        filters = ["--filter", f"label=io.taskman.handle={attempt.order.handle}"]
        found = box.engine.run("ps", *filters, "--filter", "label=io.taskman.instance=i", "--quiet")
        assert found.stdout.decode().split() == box.engine.containers()
        await attempt.signal(signal.SIGKILL)
        await attempt.result()
        await executor.forget(attempt.order)

    box.play(play)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_that_was_sent_is_told_as_one(box: Box, number: signal.Signals) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo up; sleep 1000 & wait"))
        attempt.begin()
        await attempt.printed(b"up")
        await attempt.signal(number)
        assert await attempt.result() == Result(signal=number)
        await executor.forget(attempt.order)

    box.play(play)


def test_a_container_stops_with_all_that_is_in_it_and_hears_what_was_sent_meanwhile(box: Box) -> None:
    async def play(executor: Executor) -> None:
        job = order("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")
        attempt = Attempt(executor, job)
        attempt.begin()
        await attempt.printed(b"up")

        def status() -> bytes:
            [container] = box.engine.containers()
            return box.engine.run("inspect", "--format", "{{.State.Status}}", container).stdout.strip()

        for _ in range(2):  # as the next scheduler does, which may not know that it was sent
            await attempt.signal(signal.SIGSTOP)
            assert status() == b"paused"
        await attempt.signal(signal.SIGCONT)
        await attempt.signal(signal.SIGCONT)  # it runs already
        assert status() == b"running"
        await attempt.signal(signal.SIGSTOP)
        await attempt.signal(signal.SIGTERM)
        await attempt.signal(signal.SIGCONT)
        assert await attempt.result() == Result(exit_code=7)
        await executor.forget(job)

    box.play(play)


def test_a_command_may_end_by_itself_when_it_is_told_to(box: Box) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("trap 'echo bye; exit 3' TERM; echo up; sleep 1000 & wait"))
        attempt.begin()
        await attempt.printed(b"up")
        await attempt.signal(signal.SIGTERM)
        assert await attempt.result() == Result(exit_code=3)
        assert bytes(attempt.output) == b"up\nbye\n"
        await executor.forget(attempt.order)

    box.play(play)


def test_memory_over_the_limit_is_told_as_such(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    box.settings |= {"memory": 50 << 20, "processes": 50, "cpu": 1.0}
    # tail keeps a line that never ends
    result, _ = box.outcome(order(("tail", "-n", "1", "/dev/zero")))
    assert result == Result(signal=signal.SIGKILL, error="over its memory limit of 50 MiB")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("words", [("start", "--attach"), ("logs", "--follow")], ids=["start", "attach"])
def test_a_program_that_cannot_run_now_is_tried_again(
    box: Box, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    start = programs.start

    async def play(executor: Executor) -> None:
        async def refuse(argv: Sequence[str], *values: Any, **more: Any) -> Process:
            if set(words) <= {*argv}:
                raise StartFailed("no more processes", is_transient=True)
            return await start(argv, *values, **more)

        attempt = Attempt(executor, order("echo up; exit 3"))
        with monkeypatch.context() as shortage:
            shortage.setattr(programs, "start", refuse)
            if "start" in words:
                attempt.begin()
                with pytest.raises(StartFailed) as caught:
                    await attempt.result()
                assert caught.value.is_transient
            else:
                attempt.begin(is_attached=True)
                with pytest.raises(ConnectionLost):
                    await attempt.result()
        attempt.begin()
        assert await attempt.result() == Result(exit_code=3)
        await executor.forget(attempt.order)

    box.play(play)


@pytest.mark.parametrize("is_seen", [True, False], ids=["running", "ended unseen"])
def test_a_container_is_adopted_with_its_output_and_exit_code(box: Box, is_seen: bool) -> None:
    one = order("echo one; until [ -e /go ]; do sleep 0.05; done; echo two; exit 5")
    written: list[bytes] = []

    def go() -> None:
        box.engine.run("exec", f"taskman-{one.handle}", "sh", "-c", ": >/go")

    async def first(executor: Executor) -> None:
        attempt = Attempt(executor, one)
        task = attempt.begin()
        await attempt.printed(b"one")
        await executor.close()  # as if it had died: the container goes on
        with suppress(ConnectionLost):
            await task
        written.append(bytes(attempt.output))

    async def second(executor: Executor) -> None:
        assert isinstance(await executor.probe(one), Running)
        attempt = Attempt(executor, one)
        attempt.begin(is_attached=True)
        await attempt.started()
        if is_seen:
            go()
        assert await attempt.result() == Result(exit_code=5)
        written.append(bytes(attempt.output))
        assert await executor.probe(one) == Ended(Result(exit_code=5))
        await executor.forget(one)
        assert isinstance(await executor.probe(one), Absent)

    box.play(first)
    if not is_seen:
        go()
        box.engine.run("wait", f"taskman-{one.handle}")
    box.play(second)
    assert b"".join(written) == b"one\ntwo\n"


def test_a_client_that_was_killed_loses_no_container(box: Box) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo up; sleep 1000"))
        attempt.begin()
        await attempt.printed(b"up")
        for client in executor._clients:  # type: ignore[attr-defined]
            client.kill()
        with pytest.raises(ConnectionLost):
            await attempt.result()
        assert isinstance(await executor.probe(attempt.order), Running)
        await executor.forget(attempt.order)

    box.play(play)


def test_one_that_is_given_up_before_its_client_is_there_leaves_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = programs.start, asyncio.Event()

    async def slow(argv: Sequence[str], *more: Any, **others: Any) -> Process:
        if "start" in argv:
            begun.set()
            await asyncio.sleep(60)
        return await start(argv, *more, **others)

    async def play(executor: Executor) -> None:
        task = Attempt(executor, order("sleep 1000")).begin()
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])

    monkeypatch.setattr(programs, "start", slow)
    box.play(play)


def test_an_attempt_that_is_given_up_leaves_nothing(box: Box) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("sleep 1000"))
        task = attempt.begin()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        attempt = Attempt(executor, order("echo up; sleep 1000"))
        task = attempt.begin()
        await attempt.printed(b"up")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await executor.forget(attempt.order)

    box.play(play)


@pytest.mark.parametrize(
    ("command", "settings", "words"),
    [
        ("true", {"image": "taskman-no-such-image"}, "No such image|image not known"),
        ("true", {"network": "nope"}, "network (nope )?not found"),
        ("true", {"program": "/nope/docker"}, "cannot run /nope/docker"),
        ("true", {"options": ["--no-such-flag"]}, "no-such-flag"),
    ],
)
def test_what_cannot_be_started_is_told_in_the_engines_words(
    box: Box, command: str | tuple[str, ...], settings: dict[str, Any], words: str
) -> None:
    box.settings |= settings
    one = order(command)

    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, one)
        attempt.begin()
        with pytest.raises(StartFailed, match=words):
            await attempt.result()
        assert attempt.starts == 0

    box.play(play)


def test_a_daemon_that_is_gone_or_stopped_says_nothing_of_an_attempt(box: Box, monkeypatch: Any) -> None:
    daemon = box.engine
    if not isinstance(daemon, Daemon):
        pytest.skip("it has no daemon")
    monkeypatch.setattr("taskman_cli.executors.container._ANSWER_S", 1.0)

    async def play(executor: Executor) -> None:
        over = order("true")
        earlier = Attempt(executor, over)
        earlier.begin()
        assert await earlier.result() == Result(exit_code=0)
        attempt = Attempt(executor, order("echo up; sleep 1000"))
        attempt.begin()
        await attempt.printed(b"up")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        assert isinstance(await executor.probe(attempt.order), Unknown)
        with pytest.raises(ConnectionLost):
            await executor.signal(attempt.work, signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.process.terminate()
        daemon.process.wait(20)
        with pytest.raises(ConnectionLost):
            await attempt.result()
        assert isinstance(await executor.probe(attempt.order), Unknown)
        with pytest.raises(ConnectionLost):
            await executor.forget(over)  # it is removed with the next one
        daemon.start()
        assert isinstance(await executor.probe(attempt.order), Running)
        again = Attempt(executor, attempt.order)
        again.begin(is_attached=True)
        await again.started()
        await again.signal(signal.SIGKILL)
        assert await again.result() == Result(signal=signal.SIGKILL)
        await executor.forget(attempt.order)

    box.play(play)


def test_a_check_tells_of_engine_and_image(box: Box) -> None:
    async def play(executor: Executor) -> None:
        assert [finding.is_good for finding in await executor.check()] == [True, True]

    async def play_without(executor: Executor) -> None:
        assert [finding.is_good for finding in await executor.check()] == [True, False]

    box.play(play)
    box.settings["image"] = "nope"
    box.play(play_without)
