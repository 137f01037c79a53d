"""The scheduler's loop on real descriptors and timers, against a supervisor that plays along."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from unit.engine_driver import make_job, seconds

from taskman_cli.core.engine import Engine
from taskman_cli.core.model import Execution, Job, Now, Policy, Retry, Settings
from taskman_cli.core.schedule import Interval, Once, load_zone
from taskman_cli.daemon import read_clocks
from taskman_cli.daemon_options import Options
from taskman_cli.environment import Environments
from taskman_cli.loop import EXIT_KILLED, Loop
from taskman_cli.outputs import Outputs
from taskman_cli.supervisor.wire import PROTOCOL_VERSION, Channel
from taskman_cli.workers import SupervisorGone, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from taskman_cli.core.model import Snapshot

Message = tuple[Any, ...]


class FakeSupervisor(threading.Thread):
    """Answers each message as `answer` says, until the scheduler is done; dies where the answer is None."""

    def __init__(self, sock: socket.socket, answer: Callable[[Message], list[Message] | None]) -> None:
        super().__init__(daemon=True)
        self.channel = Channel(sock)
        self.heard: list[Message] = []
        self._answer = answer

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        while True:
            poll.poll()
            for message in self.channel.receive() or [("exit", None)]:
                self.heard.append(message)
                answers = self._answer(message)
                if answers is None:
                    self.channel.close()
                    return
                if answers:
                    self.channel.send(answers)
                if message[0] == "exit":
                    return

    def of_kind(self, kind: str) -> list[Message]:
        return [message for message in self.heard if message[0] == kind]


def ended(key: str, status: int = 0, output_bytes: int = 0) -> Message:
    now = read_clocks()
    return (
        "ended",
        key,
        {
            "status": status,
            "cpu_s": 0.0,
            "peak_rss_bytes": 0,
            "output_bytes": output_bytes,
            "cut_bytes": 0,
            "output_error": None,
            "group_left": False,
            "wall_ns": now.wall_ns,
            "elapsed_ns": now.elapsed_ns,
        },
    )


def succeed(message: Message) -> list[Message]:
    """Let each command that can be started succeed at once."""
    if message[0] != "start":
        return []
    now = read_clocks()
    if "error" in message[3]:
        return [("failed", message[1], 0, message[3]["error"], False, now.wall_ns, now.elapsed_ns)]
    return [("started", message[1], 7, now.wall_ns, now.elapsed_ns), ended(message[1])]


class World:
    """A daemon and its supervisor."""

    def __init__(
        self,
        directory: Path,
        *jobs: Job,
        answer: Callable[[Message], list[Message] | None] = succeed,
        settings: Settings | None = None,
        clocks: Callable[[], Now] = read_clocks,
        hello: dict[str, Any] | None = None,
        with_hello: tuple[Message, ...] = (),
        **options: Any,
    ) -> None:
        ours, theirs = socket.socketpair()
        self.supervisor = FakeSupervisor(theirs, answer)
        self.outputs = Outputs(directory)
        self.channel = Channel(ours)
        workers = Workers(
            self.channel,
            outputs=self.outputs,
            environments=Environments({"PATH": "/bin"}, cwd="/"),
            cwd="/",
            shell_name="dash",
        )
        self.jobs, self.options = jobs, Options(("jobs.toml",), str(directory), **options)
        self.view = FakeView()
        self.supervisor.channel.send([self.hello(**hello or {}), *with_hello])
        self.greeting = workers.greet()
        self.loop = Loop(
            Engine(settings or Settings()), workers, self.outputs, view=self.view, clocks=clocks  # type: ignore[arg-type]
        )  # fmt: skip

    def hello(self, **facts: Any) -> Message:
        usual = {"version": PROTOCOL_VERSION, "generation": 0, "kept": {}, "attempts": []}
        return "hello", usual | {"started_ns": read_clocks().wall_ns, "scheduler_ended_ns": None} | facts

    def run(self) -> int:
        self.supervisor.start()
        try:
            self.loop.begin(self.jobs, self.greeting, self.options)
            return self.loop.run()
        finally:
            self.channel.close()
            self.supervisor.join(10)
            self.supervisor.channel.close()
            self.outputs.close()


class FakeView:
    """Keeps the pictures it is given."""

    def __init__(self) -> None:
        self.pictures: list[Snapshot] = []

    def update(self, snapshot: Snapshot) -> None:
        self.pictures.append(snapshot)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTOU)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


ONCE = Policy(run_on_start=True, max_runs=1)


def test_it_leaves_when_nothing_is_left_to_come(tmp_path: Path) -> None:
    world = World(tmp_path, make_job(policy=ONCE), is_until_idle=True)
    assert 0 == world.run()
    assert 1 == len(world.supervisor.of_kind("start"))
    assert [("exit", 0)] == world.supervisor.of_kind("exit")
    assert ["run_count:job"] == [name for _, name, _ in world.supervisor.of_kind("keep") if "run" in name]
    assert world.view.pictures[-1].stopping


def test_slots_start_at_their_time_on_the_wall_clock(tmp_path: Path) -> None:
    at_ns = read_clocks().wall_ns + seconds(0.05)
    begun: list[int] = []

    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            begun.append(read_clocks().wall_ns)
        return succeed(message)

    job = make_job(schedule=Once(at_ns, load_zone("UTC")))
    assert 0 == World(tmp_path, job, answer=answer, is_until_idle=True).run()
    assert begun[0] >= at_ns


def test_retries_wait_on_the_elapsed_clock(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            return [ended(message[1], status=1 << 8)]
        return []

    job = make_job(policy=ONCE, execution=Execution(retry=Retry(max=2, delay_ns=seconds(0.02))))
    world = World(tmp_path, job, answer=answer, is_until_idle=True)
    assert 0 == world.run()
    assert [1, 2, 3] == [meta[3] for _, _, meta, _ in world.supervisor.of_kind("start")]


def test_a_start_that_cannot_be_put_together_is_retried_and_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    execution = Execution(env_file=("/no/such",), retry=Retry(max=1, delay_ns=0))
    assert 0 == World(tmp_path, make_job(policy=ONCE, execution=execution), is_until_idle=True).run()
    assert 2 == caplog.text.count("failed (cannot read env_file /no/such")


def test_it_stops_when_its_time_is_over(tmp_path: Path) -> None:
    assert 0 == World(tmp_path, make_job(), run_for_ns=seconds(0.03)).run()


def test_a_signal_is_the_same_from_the_supervisor_and_direct(tmp_path: Path) -> None:
    for is_direct in (True, False):

        def answer(message: Message, is_direct: bool = is_direct) -> list[Message]:
            if message[0] == "signal":
                return [ended(message[1], status=message[2])]
            if message[0] == "start" and is_direct:
                os.kill(os.getpid(), signal.SIGTERM)
            elif message[0] == "start":
                return [("signal", int(signal.SIGTERM))]
            return []

        world = World(tmp_path, make_job(policy=ONCE), answer=answer)
        assert 0 == world.run()
        assert [int(signal.SIGTERM)] == [signum for _, _, signum, _ in world.supervisor.of_kind("signal")]


def test_what_came_with_the_greeting_is_heeded(tmp_path: Path) -> None:
    world = World(tmp_path, make_job(), with_hello=(("signal", int(signal.SIGTERM)),))
    assert 0 == world.run()
    meta = ("67aw4jvn94", "job", "main", 1, None, "start")
    now = read_clocks()
    world = World(
        tmp_path,
        make_job(policy=Policy(max_runs=1)),
        hello={
            "kept": {"anchor": now.wall_ns, "run_count:job": 1},
            "attempts": [("67aw4jvn94.main.1", meta, 7, now.wall_ns, now.elapsed_ns, None, "")],
        },
        with_hello=(ended("67aw4jvn94.main.1"),),
        is_until_idle=True,
    )
    assert 0 == world.run()
    assert [["67aw4jvn94.main.1"]] == [keys for _, keys in world.supervisor.of_kind("forget")]


def test_the_next_scheduler_accounts_from_where_the_last_one_left_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_ns = read_clocks().wall_ns
    world = World(
        tmp_path,
        make_job(schedule=Interval(seconds(10))),
        hello={"kept": {"anchor": now_ns - seconds(101), "accounted": now_ns - seconds(50)}},
        answer=lambda message: [("signal", int(signal.SIGTERM))] if message[0] == "start" else kill(message),
    )
    assert 0 == world.run()
    assert "job: skipped 4 slots" in caplog.text
    [(_, _, meta, _)] = world.supervisor.of_kind("start")
    assert (now_ns - seconds(1), "slot") == meta[4:]


def kill(message: Message) -> list[Message]:
    return [ended(message[1], status=message[2])] if message[0] == "signal" else []


def test_one_interrupt_to_both_processes_is_one(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            os.kill(os.getpid(), signal.SIGINT)
            return [("signal", int(signal.SIGINT))]
        return kill(message)

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert 0 == world.run()
    assert [int(signal.SIGTERM)] == [signum for _, _, signum, _ in world.supervisor.of_kind("signal")]


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            return [("signal", int(signal.SIGINT))]
        if message[0] == "signal" and message[2] == signal.SIGTERM:
            return [("signal", int(signal.SIGINT))]
        return [ended(message[1], status=9)] if message[0] == "signal" else []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert EXIT_KILLED == world.run()
    assert [("exit", EXIT_KILLED)] == world.supervisor.of_kind("exit")


def test_the_end_of_the_supervisor_ends_the_loop(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message] | None:
        return None if message[0] == "start" else []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    with pytest.raises(SupervisorGone):
        world.run()


def test_a_step_of_the_clock_is_noticed_and_moves_intervals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The job would come in an hour; the clock jumps 30 minutes, which brings it no nearer."""
    step_ns = 0

    def clocks() -> Now:
        wall_ns, elapsed_ns = read_clocks()
        return Now(wall_ns + step_ns, elapsed_ns)

    def answer(message: Message) -> list[Message]:
        nonlocal step_ns
        if message[0] == "configure":
            step_ns = seconds(1800)
            return [("wake up",)]
        if message[0] == "keep" and step_ns and len(world.supervisor.of_kind("keep")) == 2:
            return [("signal", int(signal.SIGTERM))]
        return []

    caplog.set_level(logging.INFO, logger="taskman")
    world = World(tmp_path, make_job(schedule=Interval(seconds(3600))), answer=answer, clocks=clocks)
    assert 0 == world.run()
    assert "the clock stepped forward by" in caplog.text
    (_, _, before), (_, _, after) = world.supervisor.of_kind("keep")
    assert 1799 < (after - before) / seconds(1) < 1801
    slot_ns = world.loop._engine.timetable.jobs["job"].slot_ns
    assert slot_ns is not None
    first = world.view.pictures[0].queue[0]
    assert 1799 < (slot_ns - first.slot_ns) / seconds(1) < 1801


def test_output_of_old_runs_goes_when_new_output_comes(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] != "start":
            return []
        from pathlib import Path

        path = Path(message[3]["path"])
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return [ended(message[1], output_bytes=1)]

    job = make_job(
        schedule=Interval(seconds(0.01)), policy=Policy(max_runs=5), execution=Execution(keep_runs=2)
    )
    assert 0 == World(tmp_path, job, answer=answer, is_until_idle=True).run()
    assert 2 == len(list((tmp_path / "job").iterdir()))


def test_options_survive_the_command_line() -> None:
    options = Options(("a.toml", "b c.toml"), "/state", True, 5, True, "debug")
    assert options == Options.from_json(options.to_json())
