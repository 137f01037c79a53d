"""The scheduler's loop on real descriptors and timers, against a supervisor that plays along."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.ledger_tables import read_ledger
from unit.engine_driver import FIXED, make_job, seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.model import Execution, Job, Policy, Retry, Settings, Trigger
from taskman_cli.core.schedule import Interval, Once, Reboot, load_zone
from taskman_cli.errors import EXIT_INTERRUPTED
from taskman_cli.launch.environment import Environments
from taskman_cli.ledger.ends import read_ends
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.store import NAME, LedgerUnwritable
from taskman_cli.scheduler.__main__ import read_clocks
from taskman_cli.scheduler.clocks import Clocks
from taskman_cli.scheduler.driver import EngineDriver
from taskman_cli.scheduler.loop import Loop
from taskman_cli.scheduler.options import Options
from taskman_cli.scheduler.output_files import Outputs
from taskman_cli.scheduler.startup import LEDGER
from taskman_cli.scheduler.workers import SupervisorGone, Workers
from taskman_cli.supervisor.wire import PROTOCOL_VERSION, Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from taskman_cli.core.engine.view import Snapshot

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


BOOT = "this start of the machine"


class World:
    """A daemon, its supervisor and its ledger, in which an earlier scheduler may have left something."""

    def __init__(
        self,
        directory: Path,
        *jobs: Job,
        answer: Callable[[Message], list[Message] | None] = succeed,
        settings: Settings | None = None,
        clocks: Callable[[], Now] = read_clocks,
        slept: Callable[[], int] = lambda: 0,
        recorded: tuple[effects.Record | effects.Mark, ...] = (),
        recorded_at: Now | None = None,
        hello: dict[str, Any] | None = None,
        with_hello: tuple[Message, ...] = (),
        **options: Any,
    ) -> None:
        ours, theirs = socket.socketpair()
        self.supervisor = FakeSupervisor(theirs, answer)
        self.outputs = Outputs(directory, partial(read_ends, directory / NAME))
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
        self.directory, settings = directory, settings or FIXED
        if recorded:
            ledger = Ledger(directory, settings, supervisor=EARLIER, now=clocks())
            ledger.write(recorded, recorded_at or clocks())
            ledger.close()
        self.ledger = Ledger(
            directory, settings, supervisor=self.greeting.started_ns, now=clocks(),
            identity=self.greeting.kept.get(LEDGER),
        )  # fmt: skip
        driver = EngineDriver(Engine(settings), self.ledger, Clocks(clocks, slept))
        self.loop = Loop(driver, workers, self.outputs, view=self.view)  # type: ignore[arg-type]

    def hello(self, **facts: Any) -> Message:
        usual = {
            "version": PROTOCOL_VERSION,
            "generation": 0,
            "kept": {},
            "attempts": [],
            "is_complete": True,
        }
        return "hello", usual | {"started_ns": read_clocks().wall_ns, "scheduler_ended_ns": None} | facts

    def run(self) -> int:
        self.supervisor.start()
        try:
            self.loop.begin(self.jobs, self.greeting, self.options, boot=BOOT)
            return self.loop.run()
        finally:
            self.ledger.close()
            self.channel.close()
            self.supervisor.join(60)
            self.supervisor.channel.close()
            self.outputs.close()

    def rows(self, query: str) -> list[Any]:
        """Return what the ledger says, of one column its values."""
        return read_ledger(self.directory, query)


#: When the supervisor before this one started.
EARLIER = 11


class FakeView:
    """Keeps the pictures it is given."""

    def __init__(self) -> None:
        self.lines = 24
        self.pictures: list[Snapshot] = []

    def update(self, snapshot: Snapshot) -> None:
        self.pictures.append(snapshot)

    def resume(self) -> bool:
        return False

    def suspend(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = (
        signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU, signal.SIGUSR1,
        signal.SIGUSR2, signal.SIGALRM,
    )  # fmt: skip
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


ONCE = Policy(run_on_start=True, max_runs=1)


def test_it_leaves_when_nothing_is_left_to_come(tmp_path: Path) -> None:
    world = World(tmp_path, make_job(policy=ONCE), is_until_idle=True)
    assert world.run() == 0
    assert len(world.supervisor.of_kind("start")) == 1
    assert world.supervisor.of_kind("exit") == [("exit", 0)]
    assert world.rows("SELECT run_count FROM job_state") == [1]
    assert world.rows("SELECT state FROM runs") == ["succeeded"]
    assert world.view.pictures[-1].stopping


def test_slots_start_at_their_time_on_the_wall_clock(tmp_path: Path) -> None:
    at_ns = read_clocks().wall_ns + seconds(1)  # the world is made in less
    begun: list[int] = []

    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            begun.append(read_clocks().wall_ns)
        return succeed(message)

    job = make_job(schedule=Once(at_ns, load_zone("UTC")))
    assert World(tmp_path, job, answer=answer, is_until_idle=True).run() == 0
    assert begun[0] >= at_ns


def test_retries_wait_on_the_elapsed_clock(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            return [ended(message[1], status=1 << 8)]
        return []

    job = make_job(policy=ONCE, execution=Execution(retry=Retry(max=2, delay_ns=seconds(0.02))))
    world = World(tmp_path, job, answer=answer, is_until_idle=True)
    assert world.run() == 0
    assert [meta[3] for _, _, meta, _ in world.supervisor.of_kind("start")] == [1, 2, 3]


def test_a_start_that_cannot_be_put_together_is_retried_and_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    execution = Execution(env_file=("/no/such",), retry=Retry(max=1, delay_ns=0))
    assert World(tmp_path, make_job(policy=ONCE, execution=execution), is_until_idle=True).run() == 0
    assert caplog.text.count("failed (cannot read env_file /no/such") == 2


def test_it_stops_when_its_time_is_over(tmp_path: Path) -> None:
    assert World(tmp_path, make_job(), run_for_ns=seconds(0.03)).run() == 0


@pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "from the supervisor"])
def test_a_signal_is_the_same_from_the_supervisor_and_direct(tmp_path: Path, is_direct: bool) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "signal":
            return [ended(message[1], status=message[2])]
        if message[0] == "start" and is_direct:
            os.kill(os.getpid(), signal.SIGTERM)
        elif message[0] == "start":
            return [("signal", int(signal.SIGTERM))]
        return []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert world.run() == 0
    assert [int(signal.SIGTERM)] == [signum for _, _, signum, _ in world.supervisor.of_kind("signal")]


def test_what_came_with_the_greeting_is_heeded(tmp_path: Path) -> None:
    world = World(tmp_path, make_job(), with_hello=(("signal", int(signal.SIGTERM)),))
    assert world.run() == 0


def test_an_end_that_came_with_the_greeting_is_that_of_a_run_on_record(tmp_path: Path) -> None:
    now = read_clocks()
    job = make_job(policy=Policy(max_runs=1))
    key, meta = f"{RUN}.main.1", (RUN, "job", "main", 1, None, "start")
    world = World(
        tmp_path,
        job,
        recorded=(
            armed(job, now.wall_ns), effects.RunsCounted("job", 1), effects.Accounted(now.wall_ns),
            effects.RunQueued(RUN, "job", None, Trigger.START, now.wall_ns),
            effects.AttemptBegun(RUN, "job", "main", 1, None),
        ),
        hello={"attempts": [(key, meta, 7, now.wall_ns, now.elapsed_ns, None, "")]},
        with_hello=(ended(key, status=3 << 8),),
        is_until_idle=True,
    )  # fmt: skip
    assert world.run() == 0
    assert [[key]] == [keys for _, keys in world.supervisor.of_kind("forget")]
    assert world.rows("SELECT state, supervisor, pid, exit_code FROM attempts") == [("failed", EARLIER, 7, 3)]
    assert world.rows("SELECT state FROM runs") == ["failed"]


RUN = "67aw4jvn94"


def armed(job: Job, anchor_ns: int) -> effects.JobArmed:
    """Return the record of a job that counts from an instant."""
    return effects.JobArmed(job.id, definition_of(job), anchor_ns, anchor_ns)


def test_the_next_scheduler_accounts_from_where_the_last_one_left_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_ns = read_clocks().wall_ns
    job = make_job(schedule=Interval(seconds(10)))
    world = World(
        tmp_path,
        job,
        recorded=(armed(job, now_ns - seconds(101)), effects.Accounted(now_ns - seconds(50))),
        answer=lambda message: [("signal", int(signal.SIGTERM))] if message[0] == "start" else kill(message),
    )
    assert world.run() == 0
    assert "job: skipped 4 slots" in caplog.text
    [(_, _, meta, _)] = world.supervisor.of_kind("start")
    assert meta[4:] == (now_ns - seconds(1), "slot")
    assert world.rows("SELECT count, reason FROM skips") == [(4, "missed")]


def kill(message: Message) -> list[Message]:
    return [ended(message[1], status=message[2])] if message[0] == "signal" else []


def test_one_interrupt_to_both_processes_is_one(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            os.kill(os.getpid(), signal.SIGINT)
            return [("signal", int(signal.SIGINT))]
        return kill(message)

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert world.run() == 0
    assert [int(signal.SIGTERM)] == [signum for _, _, signum, _ in world.supervisor.of_kind("signal")]


def test_a_second_interrupt_kills(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            return [("signal", int(signal.SIGINT))]
        if message[0] == "signal" and message[2] == signal.SIGTERM:
            return [("signal", int(signal.SIGINT))]
        return [ended(message[1], status=9)] if message[0] == "signal" else []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert world.run() == EXIT_INTERRUPTED
    assert world.supervisor.of_kind("exit") == [("exit", EXIT_INTERRUPTED)]


def test_the_end_of_the_supervisor_ends_the_loop(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message] | None:
        return None if message[0] == "start" else []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    with pytest.raises(SupervisorGone):
        world.run()


class SetClocks:
    """The real clocks, with a wall clock that a test puts forward or back."""

    def __init__(self) -> None:
        self.step_ns = 0
        self.slept_ns = 0
        #: What both are ahead, as if this process had not run for so long.
        self.stall_ns = 0

    def __call__(self) -> Now:
        wall_ns, elapsed_ns = read_clocks()
        return Now(wall_ns + self.step_ns + self.stall_ns, elapsed_ns + self.stall_ns)

    def slept(self) -> int:
        return self.slept_ns


def test_a_step_of_the_clock_is_noticed_and_moves_intervals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The job would come in an hour; the clock jumps 30 minutes, which brings it no nearer."""
    clocks = SetClocks()
    anchors: list[int] = []
    anchor = "SELECT anchor_ns FROM job_state"

    def answer(message: Message) -> list[Message]:
        if message[0] == "configure":
            anchors.extend(read_ledger(tmp_path, anchor))
            clocks.step_ns = seconds(1800)
            return [("wake up",), ("signal", int(signal.SIGTERM))]
        return []

    caplog.set_level(logging.INFO, logger="taskman")
    world = World(tmp_path, make_job(schedule=Interval(seconds(3600))), answer=answer, clocks=clocks)
    assert world.run() == 0
    assert "the clock stepped forward by" in caplog.text
    assert 1799 < (world.rows(anchor)[0] - anchors[0]) / seconds(1) < 1801
    slot_ns = world.loop._engine.timetable.jobs["job"].slot_ns
    assert slot_ns is not None
    first = world.view.pictures[0].queue[0]
    assert 1799 < (slot_ns - first.slot_ns) / seconds(1) < 1801
    [step] = world.rows("SELECT data ->> 'delta_ns' FROM events WHERE kind = 'clock_stepped'")
    assert 1799 < step / seconds(1) < 1801


def test_a_sleep_of_the_machine_is_on_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clocks = SetClocks()

    def answer(message: Message) -> list[Message]:
        if message[0] == "configure":
            clocks.slept_ns = seconds(7200)
            return [("wake up",), ("signal", int(signal.SIGTERM))]
        return []

    caplog.set_level(logging.INFO, logger="taskman")
    world = World(tmp_path, make_job(), answer=answer, clocks=clocks, slept=clocks.slept)
    assert world.run() == 0
    assert world.rows("SELECT data ->> 'length_ns' FROM events WHERE kind = 'suspended'") == [seconds(7200)]
    assert caplog.text.count("the machine slept for 2h") == 1


def test_a_stall_is_on_record_and_a_sleep_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clocks = SetClocks()

    def answer(message: Message) -> list[Message]:
        if message[0] == "configure":
            clocks.stall_ns = seconds(15)  # past the first slot
            return [("wake up",), ("signal", int(signal.SIGTERM))]
        return []

    world = World(tmp_path, make_job(), answer=answer, clocks=clocks)
    assert world.run() == 0
    assert world.rows("SELECT detail FROM events WHERE kind = 'stalled'") == ["for 5s"]
    assert caplog.text.count("or the machine was too busy, for 5s") == 1


def stop_at_once(message: Message) -> list[Message]:
    return [("signal", int(signal.SIGTERM))] if message[0] == "configure" else kill(message)


@pytest.mark.parametrize("is_new", [False, True], ids=["known", "new"])
@pytest.mark.parametrize("step_s", [1800, -1800])
def test_a_step_of_the_clock_while_nobody_was_there_moves_what_was_armed_before_it(
    tmp_path: Path, step_s: int, is_new: bool
) -> None:
    clocks = SetClocks()
    before, job = clocks(), make_job(schedule=Interval(seconds(3600)))
    recorded = (effects.Accounted(before.wall_ns), effects.LifeBegun(BOOT, EARLIER))
    clocks.step_ns = seconds(step_s)
    known = () if is_new else (armed(job, before.wall_ns),)
    world = World(
        tmp_path, job, answer=stop_at_once, clocks=clocks, recorded=(*recorded, *known), recorded_at=before
    )
    assert world.run() == 0
    slot_ns = world.loop._engine.timetable.jobs["job"].slot_ns
    assert slot_ns is not None
    assert 3590 < (slot_ns - clocks().wall_ns) / seconds(1) < 3601
    assert len(world.rows("SELECT 1 FROM events WHERE kind = 'clock_stepped'")) == 1


def test_what_the_clocks_were_before_the_machine_was_started_is_no_matter(tmp_path: Path) -> None:
    clocks = SetClocks()
    now, job = clocks(), make_job(schedule=Interval(seconds(3600)))
    recorded = (
        effects.Accounted(now.wall_ns),
        effects.LifeBegun("another", EARLIER),
        armed(job, now.wall_ns),
    )
    before = Now(now.wall_ns, now.elapsed_ns + seconds(100_000))
    world = World(tmp_path, job, answer=stop_at_once, recorded=recorded, recorded_at=before)
    assert world.run() == 0
    assert world.rows("SELECT 1 FROM events WHERE kind = 'clock_stepped'") == []
    assert world.rows("SELECT boot, supervisor FROM standing") == [(BOOT, world.greeting.started_ns)]


# --- the ledger ---


def test_an_attempt_is_on_record_before_it_is_asked_for(tmp_path: Path) -> None:
    seen: list[Any] = []

    def answer(message: Message) -> list[Message]:
        if message[0] == "start":
            query = "SELECT runs.state, attempts.state, pid FROM runs JOIN attempts ON run = id"
            seen.extend(read_ledger(tmp_path, query))
        return succeed(message)

    world = World(tmp_path, make_job(policy=ONCE), answer=answer, is_until_idle=True)
    assert world.run() == 0
    assert seen == [("running", "running", None)]
    assert world.rows("SELECT state, pid FROM attempts") == [("succeeded", 7)]


def test_an_end_is_on_record_before_it_is_forgotten(tmp_path: Path) -> None:
    seen: list[Any] = []

    def answer(message: Message) -> list[Message]:
        if message[0] == "forget":
            seen.extend(read_ledger(tmp_path, "SELECT state FROM attempts"))
        return succeed(message)

    assert World(tmp_path, make_job(policy=ONCE), answer=answer, is_until_idle=True).run() == 0
    assert seen == ["succeeded"]


def test_the_journal_tells_the_life_of_the_program(tmp_path: Path) -> None:
    world = World(tmp_path, make_job(policy=ONCE), is_until_idle=True)
    assert world.run() == 0
    assert world.rows("SELECT kind, detail FROM events") == [
        ("scheduler_started", None), ("jobs_loaded", None), ("queued", None), ("begun", None),
        ("ended", None), ("finished", None), ("scheduler_stopped", None),
    ]  # fmt: skip


def test_a_wish_to_be_replaced_is_followed_without_a_word(tmp_path: Path) -> None:
    """As after `taskman restart`: what runs goes on, and the next scheduler finds it."""

    def answer(message: Message) -> list[Message]:
        now = read_clocks()
        if message[0] == "start":
            started = ("started", message[1], 7, now.wall_ns, now.elapsed_ns)
            return [started, ("signal", int(signal.SIGUSR1))]
        return []

    world = World(tmp_path, make_job(policy=ONCE), answer=answer)
    assert world.run() == 0
    kinds = {kind for kind, *_ in world.supervisor.heard if (kind, None) != ("exit", None)}
    assert ("exit", 0) not in world.supervisor.heard
    assert {"signal", "forget"}.isdisjoint(kinds)
    assert world.rows("SELECT runs.state, attempts.state, pid FROM runs JOIN attempts ON run = id") == [
        ("running", "running", 7)
    ]
    [(key, meta)] = [(key, meta) for _, key, meta, _ in world.supervisor.of_kind("start")]
    now = read_clocks()
    again = World(
        tmp_path,
        make_job(policy=ONCE),
        hello={
            "started_ns": world.greeting.started_ns,
            "attempts": [(key, meta, 7, now.wall_ns, now.elapsed_ns, None, "")],
        },
        with_hello=(ended(key),),
        is_until_idle=True,
    )
    assert again.run() == 0
    assert again.supervisor.of_kind("start") == []
    assert again.rows("SELECT state FROM runs") == ["succeeded"]
    assert again.rows("SELECT detail FROM events WHERE kind = 'scheduler_started'") == [None, "again"]


def test_nothing_starts_while_the_ledger_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskman_cli.scheduler.recorder.RETRY_NS", seconds(0.01))
    failures = 3

    world = World(tmp_path, make_job(policy=ONCE), is_until_idle=True)
    write = world.ledger.write

    def fail_at_first(records: Any, now: Now) -> None:
        nonlocal failures
        assert world.supervisor.of_kind("start") == []
        if failures:
            failures -= 1
            raise LedgerUnwritable("disk is full")
        monkeypatch.setattr(world.ledger, "write", write)
        write(records, now)

    monkeypatch.setattr(world.ledger, "write", fail_at_first)
    assert world.run() == 0
    assert len(world.supervisor.of_kind("start")) == 1
    assert caplog.text.count("the ledger cannot be written (disk is full)") == 1
    assert caplog.text.count("the ledger can be written again") == 1
    assert world.rows("SELECT state FROM runs") == ["succeeded"]


def test_rows_that_are_too_many_go_while_there_is_nothing_else_to_do(tmp_path: Path) -> None:
    job = make_job(schedule=Interval(seconds(0.002)), policy=Policy(max_runs=30, keep_runs=3))
    # Until the other one is due, there is nothing else to do.
    other = make_job("other", schedule=Interval(seconds(3)), policy=Policy(max_runs=1))
    world = World(tmp_path, job, other, is_until_idle=True)
    assert world.run() == 0
    assert world.rows("SELECT count(*) FROM runs")[0] == 3 + 1
    assert world.rows("SELECT run FROM attempts") == world.rows("SELECT id FROM runs")


def test_output_of_old_runs_goes_when_new_output_comes(tmp_path: Path) -> None:
    def answer(message: Message) -> list[Message]:
        if message[0] != "start":
            return []
        path = Path(message[3]["path"])
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return [ended(message[1], output_bytes=1)]

    job = make_job(schedule=Interval(seconds(0.01)), policy=Policy(max_runs=5, keep_runs=2))
    assert World(tmp_path, job, answer=answer, is_until_idle=True).run() == 0
    assert len(list((tmp_path / "job").iterdir())) == 2


def test_options_survive_the_command_line() -> None:
    options = Options(("a.toml", "b c.toml"), "/state", True, 5, True, "debug")
    assert options == Options.from_json(options.to_json())


def test_what_this_life_has_counted_goes_on_with_the_next_scheduler(tmp_path: Path) -> None:
    job = make_job(schedule=Interval(seconds(0.01)), policy=Policy(max_runs=2))
    world = World(tmp_path, job, is_until_idle=True, hello={"kept": {"counts": {"started": 5, "failed": 1}}})
    assert world.run() == 0
    kept = [message[2] for message in world.supervisor.of_kind("keep") if message[1] == "counts"]
    assert tuple(kept[-1][name] for name in ("started", "failed", "succeeded")) == (7, 1, 2)
    again = World(tmp_path, is_until_idle=True, hello={"kept": {"counts": kept[-1]}})
    assert again.run() == 0
    first = again.view.pictures[0]
    succeeded = [row.job for row in first.recent if row.state == "succeeded"]
    assert (first.counters.started, succeeded) == (7, ["job", "job"])


@pytest.mark.parametrize("left", ["nothing", "another"])
def test_a_ledger_that_was_lost_between_two_schedulers_is_told_of_once_and_nothing_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, left: str
) -> None:
    kept = {LEDGER: "thatone"}
    recorded = {"nothing": (), "another": (effects.LifeBegun(BOOT, 5), effects.Accounted(5))}[left]
    jobs = make_job("boot", Reboot("UTC")), make_job("life", Reboot("UTC"), policy=ONCE)
    for lost in (1, 0):
        hello = {"generation": 1, "kept": kept, "started_ns": 5}
        world = World(tmp_path, *jobs, is_until_idle=True, hello=hello, recorded=recorded if lost else ())
        assert world.run() == 0
        assert len([line for line in caplog.messages if line.startswith("the ledger was lost")]) == lost
        assert world.supervisor.of_kind("start") == []
        [(_, _, identity)] = [said for said in world.supervisor.of_kind("keep") if said[1] == LEDGER]
        assert world.rows("SELECT identity FROM standing") == [identity]
        assert world.rows("SELECT supervisor FROM standing") == [5]
        kept = {LEDGER: identity}
        caplog.clear()


def test_an_error_beside_the_engine_is_not_blamed_on_the_end_that_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, make_job(policy=ONCE))
    driver = world.loop._driver
    give_all, given = driver.give_all, []

    def note(news: Sequence[events.Event]) -> None:
        given.extend(map(type, news))
        give_all(news)

    def hear(_: set[int]) -> None:
        if events.AttemptEnded in given:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(driver, "give_all", note)
    monkeypatch.setattr(world.loop, "_hear", hear)
    with pytest.raises(RuntimeError) as caught:
        world.run()
    assert driver.poison.blame(caught.value, 0) == "an unknown item"
    assert driver.poison.as_kept() == []
