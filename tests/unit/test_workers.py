"""What the scheduler asks of the supervisor, and how it reads the answers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from unit.engine_driver import seconds

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.core.limits import Limits
from taskman_cli.core.model import Account, Execution, Exit, Group, Output, Settings, State, Task, Trigger
from taskman_cli.errors import TaskmanError
from taskman_cli.executors.orders import order_of
from taskman_cli.launch.environment import Environments
from taskman_cli.launch.spec import format_slot
from taskman_cli.scheduler.heard import Hello, SeenAttempt, to_event
from taskman_cli.scheduler.output_files import Outputs
from taskman_cli.scheduler.workers import SupervisorGone, Workers
from taskman_cli.supervisor.wire import PROTOCOL_VERSION


class FakeChannel:
    """A channel that keeps what is sent and hands out what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.incoming: list[list[tuple[Any, ...]] | None] = []
        self.wants_write = False

    def fileno(self) -> int:
        return -1

    def send(self, messages: list[tuple[Any, ...]]) -> None:
        self.sent += messages

    def receive(self) -> list[tuple[Any, ...]] | None:
        return self.incoming.pop(0)


def make_workers(channel: FakeChannel, shell_name: str = "dash", **environ: str) -> Workers:
    return Workers(
        channel,  # type: ignore[arg-type]
        outputs=Outputs(Path("/state"), lambda _: None),
        environments=Environments({"PATH": "/usr/bin:/bin"} | environ, cwd="/srv"),
        cwd="/srv",
        shell_name=shell_name,
    )


def make_start(command: str | tuple[str, ...], execution: Execution | None = None) -> effects.Start:
    task = Task("main", command, execution or Execution())
    return effects.Start("run.main.2", "run", "job", task, 2, seconds(1.5), Trigger.CATCH_UP)


def spec_of(
    command: str | tuple[str, ...], execution: Execution | None = None, **environ: str
) -> dict[str, Any]:
    channel = FakeChannel()
    workers = make_workers(channel, **environ)
    workers.start(make_start(command, execution))
    workers.flush()
    [(kind, key, meta, spec)] = channel.sent
    assert (kind, key) == ("start", "run.main.2")
    assert meta == ("run", "job", "main", 2, seconds(1.5), "catch_up")
    assert isinstance(spec, dict)
    return spec


def test_a_start_contains_everything_that_the_supervisor_needs() -> None:
    execution = Execution(
        cwd="/tmp",
        umask=0o27,
        nice=5,
        stdin="text",
        output=Output.DISCARD,
        max_output_bytes=9,
        env={"A": "1"},
    )
    spec = spec_of(("prog", "a b"), execution)
    environment = spec.pop("env")
    assert spec == {
        "argv": ["prog", "a b"],
        "shell": None,
        "cwd": "/tmp",
        "user": None,
        "umask": 0o27,
        "nice": 5,
        "stdin": "text",
        "output": "discard",
        "path": "/state/job/run.main.2.log",
        "max_output": 9,
    }
    assert environment == {
        "PATH": "/usr/bin:/bin",
        "A": "1",
        "PWD": "/tmp",
        "TASKMAN_JOB": "job",
        "TASKMAN_TASK": "main",
        "TASKMAN_RUN_ID": "run",
        "TASKMAN_ATTEMPT": "2",
        "TASKMAN_SLOT": "1970-01-01T00:00:01.500000+00:00",
        "TASKMAN_TRIGGER": "catch_up",
    }
    assert all(type(value) is str for value in environment.values())


JOE = Account("joe", uid=70_001, gid=70_002, groups=(70_002, 70_003), home="/home/joe", directory="/home/joe")


@pytest.mark.parametrize(
    ("user", "group", "expected"),
    [
        pytest.param(JOE, None, (70_001, 70_002, [70_002, 70_003]), id="a user"),
        pytest.param(JOE, Group("g", 9), (70_001, 9, [9, 70_002, 70_003]), id="with another group"),
        pytest.param(
            None, Group("g", 70_002), (os.geteuid(), 70_002, [70_002, *os.getgroups()]), id="only the group"
        ),
        pytest.param(replace(JOE, uid=os.geteuid(), gid=os.getegid()), None, None, id="ourselves"),
    ],
)
def test_a_start_contains_the_user_to_become(
    user: Account | None, group: Group | None, expected: Any
) -> None:
    spec = spec_of(("prog",), Execution(user=user, group=group))
    assert spec["user"] == expected


def test_a_command_of_another_user_finds_itself_in_its_environment() -> None:
    environment = spec_of(("prog",), Execution(user=JOE, env={"HOME": "/x"}), USER="root", LANG="C")["env"]
    assert tuple(environment[name] for name in ("USER", "LOGNAME", "HOME", "SHELL", "LANG")) == (
        "joe",
        "joe",
        "/x",
        "/bin/sh",
        "C",
    )


def test_a_changed_or_removed_account_is_noticed_at_the_next_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: dict[str, Account | None] = {"joe": replace(JOE, uid=80_000)}
    looks = iter([1, 1, 2, 2, 3, 3])
    lookups: list[str] = []

    def find(name: str) -> Account | None:
        lookups.append(name)
        return known[name]

    monkeypatch.setattr("taskman_cli.launch.accounts._look", lambda: next(looks))
    monkeypatch.setattr("taskman_cli.launch.accounts.find_account", find)
    channel = FakeChannel()
    workers = make_workers(channel)
    start = make_start(("prog",), Execution(user=JOE))

    def spec() -> dict[str, Any]:
        workers.start(start)
        workers.flush()
        made: dict[str, Any] = channel.sent.pop()[3]
        return made

    assert (spec()["user"][0], lookups) == (70_001, [])
    assert (spec()["user"][0], lookups) == (80_000, ["joe"])
    assert (spec()["user"][0], lookups) == (80_000, ["joe"])
    known["joe"] = None
    assert spec() == {"error": "there is no user joe any more"}


def test_a_plain_string_leaves_the_shell_out_and_falls_back_to_it() -> None:
    spec = spec_of("restic backup '/home/my files'")
    assert spec["argv"] == ["restic", "backup", "/home/my files"]
    assert spec["shell"] == ["/bin/sh", "-c", "restic backup '/home/my files'"]


def test_a_simple_command_has_the_shell_and_what_is_run_in_place_of_it() -> None:
    """A supervisor of an earlier version ignores `direct`, and runs the shell."""
    command = "cd app && TZ=UTC report --all >>'the log' 2>&1 </dev/null"
    spec = spec_of(command)
    assert (spec["argv"], spec["shell"]) == (["/bin/sh", "-c", command], None)
    assert spec["env"]["PWD"] == "/srv"
    assert spec["direct"] == {
        "argv": ["report", "--all"],
        "env": {"PWD": "/srv/app", "OLDPWD": "/srv", "TZ": "UTC"},
        "cd": "app",
        "files": [(1, ">>", "the log"), (2, "&", "1"), (0, "<", "/dev/null")],
    }


@pytest.mark.parametrize(
    ("command", "execution", "environ"),
    [
        ("cd a && b", Execution(), {"CDPATH": "/x"}),
        ("IFS=x b", Execution(), {}),
        ("a >b", Execution(shell="/bin/sh"), {}),
        ("a >b", Execution(), {"shell_name": "bash"}),
        ("a >b", Execution(env={"PWD": "/elsewhere"}), {}),
        ("a && b", Execution(), {}),
        ("a", Execution(shell="/bin/sh"), {}),
        ("a", Execution(), {"IFS": "x"}),
        ("a", Execution(env={"PATH": "%x"}), {}),
    ],
    ids=[
        "search-path-of-cd",
        "assigned",
        "shell-asked-for-by-key",
        "bash-without-program",
        "other-directory",
        "shell-characters",
        "shell-asked-for",
        "touched-environment",
        "odd-path",
    ],
)
def test_doubtful_commands_go_through_the_shell(
    command: str, execution: Execution, environ: dict[str, str]
) -> None:
    spec = spec_of(command, execution, **environ)
    assert spec["argv"] == ["/bin/sh", "-c", command]
    assert spec["shell"] is None
    assert "direct" not in spec


def test_bash_passes_a_program_its_path() -> None:
    spec = spec_of("ls /", shell_name="bash")
    assert (spec["argv"], spec["shell"]) == (["ls", "/"], ["/bin/sh", "-c", "ls /"])
    assert spec["env"]["_"].endswith("/ls")
    assert spec_of("nosuchprogram", shell_name="bash")["shell"] is None


def test_bash_itself_finds_the_program_of_another_user() -> None:
    """What root finds first may be in a directory that the user cannot enter: `_` would name it."""
    execution = Execution(user=JOE)
    assert spec_of("ls /", execution, shell_name="bash")["argv"] == ["/bin/sh", "-c", "ls /"]
    assert spec_of("/bin/ls /", execution, shell_name="bash")["argv"] == ["/bin/ls", "/"]


def test_a_configured_shell_runs_strings() -> None:
    assert spec_of("echo", Execution(shell="/bin/bash"))["argv"] == ["/bin/bash", "-c", "echo"]


def test_a_start_that_cannot_be_composed_is_sent_with_the_reason() -> None:
    spec = spec_of("x", Execution(env_file=("/no/such/file",)))
    assert spec == {"error": "cannot read env_file /no/such/file: No such file or directory"}


def test_limits_are_told_to_the_supervisor_only_where_there_are_some() -> None:
    limits = Limits(memory_bytes=1 << 20, core_size_bytes=0)
    assert "limits" not in spec_of("x", Execution())
    assert spec_of("x", Execution(limits=limits))["limits"] == {"memory": 1 << 20, "core_size": 0}
    kept = spec_of("x", Execution(limits=limits, kill_orphans=False))["limits"]
    assert kept == {"memory": 1 << 20, "core_size": 0, "keeps_orphans": True}


def test_a_supervisor_of_an_earlier_version_starts_nothing_without_its_limits() -> None:
    hello = {"version": PROTOCOL_VERSION, "started_ns": 1, "scheduler_ended_ns": None}
    hello |= {"kept": {}, "attempts": ()}
    workers = make_workers(FakeChannel())
    workers._inbox = [("hello", hello)]
    workers.greet()
    with pytest.raises(TaskmanError, match=r"^cannot be limited: the supervisor is of an earlier version"):
        workers._plans.prepare(Task("main", "x", Execution(limits=Limits(cpu=1.0))))
    workers._plans.prepare(Task("main", "x", Execution()))


@pytest.mark.parametrize(
    ("execution", "shell_name", "is_prepared"),
    [
        (Execution(), "dash", True),
        (Execution(), "bash", False),  # looks for the program in the directories of PATH
        (Execution(env_file=("/srv/env",)), "dash", False),
        (Execution(user=Account("ann", 1000, 1000, (), "/home/ann")), "dash", False),
        (Execution(executor="far"), "dash", False),
        (Execution(limits=Limits(cpu=1.0)), "dash", False),
    ],
    ids=["plain", "bash", "env_file", "user", "executor", "not composed"],
)
def test_only_starts_for_which_nothing_is_looked_up_are_prepared_long_before(
    execution: Execution, shell_name: str, is_prepared: bool
) -> None:
    workers = make_workers(FakeChannel(), shell_name)
    workers._plans.can_limit = False
    task = Task("main", "report", execution)
    workers.prepare_ahead([task])
    assert (workers._plans._known_plan(task) is not None) == is_prepared
    before = workers.times_forgotten
    workers.forget_plans()
    assert (workers._plans._known_plan(task), workers.times_forgotten) == (None, before + 1)


def test_all_other_actions_are_one_message_each_in_one_batch_and_what_is_forgotten_one_of_all() -> None:
    channel = FakeChannel()
    workers = make_workers(channel)
    workers.configure(Settings())
    workers.signal(effects.Signal("k", 15, State.TIMED_OUT))
    workers.forget(("a", "b"))
    workers.abandon("c")
    workers.keep("name", 3)
    workers.exit(0)
    workers.forget(("d",))
    assert channel.sent == []
    workers.drain()
    assert channel.sent[0][0] == "configure"
    names = {"output_grace_ns", "restart_delay_ns", "restart_delay_max_ns", "hang_after_ns", "group_prefix"}
    assert set(channel.sent[0][1]) == names
    assert channel.sent[1:] == [
        ("executors", {}),
        ("signal", "k", 15, "timed_out"),
        ("abandon", "c"),
        ("keep", "name", 3),
        ("exit", 0),
        ("forget", ["a", "b", "d"]),
    ]


@pytest.mark.parametrize("output", [Output.CAPTURE, Output.DISCARD])
def test_an_adoption_names_the_process_and_its_output_file(output: Output) -> None:
    channel = FakeChannel()
    workers = make_workers(channel)
    task = Task("main", "true", Execution(output=output, max_output_bytes=9))
    workers.adopt(effects.Adopt("run.main.2", "run", "job", task, 2, None, Trigger.START, 77, Now(1, 2)))
    workers.flush()
    meta = ("run", "job", "main", 2, None, "start")
    path = workers._outputs.path("job", "run.main.2") if output is Output.CAPTURE else None
    assert channel.sent == [("adopt", "run.main.2", meta, 77, 1, 2, path, 9)]


def test_slots_are_written_in_utc() -> None:
    assert format_slot(seconds(1_795_492_800)) == "2026-11-24T04:00:00+00:00"
    assert format_slot(None) == ""


ENDED = {
    "status": 0,
    "cpu_s": 0.5,
    "peak_rss_bytes": 7,
    "output_bytes": 3,
    "cut_bytes": 1,
    "output_error": None,
    "group_left": True,
    "wall_ns": 1,
    "elapsed_ns": 2,
}


def ended(exit_code: int | None, signum: int | None = None) -> events.AttemptEnded:
    return events.AttemptEnded("k", Exit(exit_code, signum, 0.5, 7, 3, 1, None, True), Now(1, 2))


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (("started", "k", 9, 1, 2), events.AttemptStarted("k", 9, Now(1, 2))),
        (("failed", "k", 2, "why", False, 1, 2), events.StartFailed("k", "why", False, Now(1, 2))),
        (
            ("failed", "k", 11, "why", True, 1, 2, True),
            events.StartFailed("k", "why", True, Now(1, 2), is_users=True),
        ),
        (("ended", "k", ENDED), ended(0)),
        (("ended", "k", ENDED | {"status": 3 << 8}), ended(3)),
        (("ended", "k", ENDED | {"status": 9}), ended(None, 9)),
        (("ended", "k", ENDED | {"status": None}), ended(None)),
        (("adopted", "k", 7), events.OrphanAdopted("k", 7)),
        (("gone", "k"), events.AttemptGone("k")),
        (("returned", "k"), events.StartReturned("k")),
        (("started", "k", 0, 1, 2), events.AttemptStarted("k", None, Now(1, 2))),
        (
            ("ended", "k", ENDED | {"status": None, "error": "KeyError: 'x'"}),
            replace(ended(None), exit=replace(ended(None).exit, error="KeyError: 'x'")),
        ),
        (("ended", "k", ENDED | {"status": None, "lost": "no trace"}), events.AttemptGone("k", "no trace")),
        (("progress", "k", 0.5, "half"), events.AttemptProgressed("k", 0.5, "half")),
        (("unheard", "k", "no line"), events.AttemptUnheard("k", "no line")),
        (("unstoppable", "k", "no way"), events.AttemptUnstoppable("k", "no way")),
        (("signal", 15), None),
    ],
    ids=[
        "started",
        "failed",
        "limited",
        "succeeded",
        "exit-code",
        "killed",
        "nobody-knows",
        "adopted",
        "gone",
        "returned",
        "on-executor",
        "failed-in-words",
        "lost",
        "progress",
        "unheard",
        "unstoppable",
        "no-event",
    ],
)
def test_answers_become_events(message: tuple[Any, ...], event: events.Event | None) -> None:
    assert event == to_event(message)


def test_an_early_start_says_so_and_the_number_of_seats_comes_before_any_start() -> None:
    channel = FakeChannel()
    workers = make_workers(channel)
    workers.start(make_start("true"))
    workers.start(replace(make_start("true"), is_early=True))
    workers.recall()
    workers.note_seats(4)
    workers.flush()
    assert channel.sent[0] == ("seats", 4)
    assert [message[4:] for message in channel.sent[1:3]] == [(), (True,)]
    assert channel.sent[3] == ("recall",)
    workers.note_seats(4)
    workers.flush()
    assert len(channel.sent) == 4


@pytest.mark.parametrize(("facts", "expected"), [({}, False), ({"has_early": True}, True)])
def test_a_supervisor_of_an_earlier_version_cannot_hold_starts(
    facts: dict[str, bool], expected: bool
) -> None:
    workers = make_workers(FakeChannel())
    workers._inbox = [hello(**facts)]
    assert workers.greet().has_early is expected


EXECUTION = Execution(
    env={"A": "1"}, env_file=("/etc/hostname",), cwd="/srv", stdin="\udcff", timeout_ns=5, executor="far",
    resources=(("db", 2), ("executor:far", 1)), executor_keys=(("args", "[1]"),),
)  # fmt: skip


def test_an_executor_gets_all_that_it_needs_and_an_old_supervisor_an_error() -> None:
    channel = FakeChannel()
    workers = make_workers(channel, PATH="/bin")
    execution = EXECUTION
    start = replace(make_start("echo", execution), handle="far/id.run.main.2", params={"P": "2"})
    workers.start(start)
    workers.flush()
    [(kind, _, meta, spec)] = channel.sent
    assert (kind, meta[6]) == ("start", "far/id.run.main.2")
    assert "newer supervisor" in spec["error"]
    assert (spec["executor"], spec["max_output"]) == ("far", execution.max_output_bytes)
    order = spec["order"]
    told = {name: value for name, value in order["env"].items() if not name.startswith("TASKMAN_")}
    assert told == {"A": "1", "P": "2"}
    assert order["local_env"] == {"PATH": "/bin", "PWD": "/srv", **order["env"]}
    assert order["env"]["TASKMAN_RUN_ID"] == "run"
    del order["env"], order["local_env"]
    assert order == {
        "handle": "id.run.main.2", "job": "job", "task": "main", "run": "run", "attempt": 2,
        "command": "echo", "keys": {"args": [1]}, "env_files": ["/etc/hostname"], "cwd": "/srv",
        "stdin": b"\xff", "user": None, "umask": None, "nice": 0, "resources": {"db": 2}, "timeout_ns": 5,
    }  # fmt: skip


@pytest.mark.parametrize("execution", [EXECUTION, replace(EXECUTION, env_file=())], ids=["file", "none"])
def test_an_order_that_is_packed_is_the_same_order(execution: Execution) -> None:
    orders = []
    for has_packed in (False, True):
        channel = FakeChannel()
        workers = make_workers(channel, PATH="/bin")
        workers._inbox = [hello(has_packed_orders=has_packed)]
        workers.greet()
        for params in ({"P": "2"}, {}, {}):
            handle = "far/id.run.main.2"
            workers.start(replace(make_start("echo", execution), handle=handle, params=params))
        workers.flush()
        orders.append([message[3]["order"] for message in channel.sent])
    plain, packed = orders
    assert ["packed" in order for order in (*plain, *packed)] == [False] * 3 + [True] * 3
    assert [order_of(order) for order in packed] == [order_of(order) for order in plain]
    begun = [order_of(order, is_new=True).deadline_ns for order in (*plain, *packed)]
    assert all(deadline_ns is not None and deadline_ns > 5 for deadline_ns in begun)


def test_a_call_stands_in_the_place_of_the_command() -> None:
    channel = FakeChannel()
    workers = make_workers(channel)
    execution = Execution(executor="far", executor_keys=(("call", '"a:b"'),))
    workers.start(replace(make_start("a:b", execution), handle="far/x"))
    workers.flush()
    order = channel.sent[0][3]["order"]
    assert (order["command"], order["keys"]) == (None, {"call": "a:b"})


def test_what_cannot_be_composed_any_more_is_found_again_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise TaskmanError("no such user")

    channel = FakeChannel()
    workers = make_workers(channel)
    monkeypatch.setattr(workers._plans, "remote", fail)
    task = Task("main", "x", Execution(output=Output.DISCARD))
    adopt = effects.Adopt(
        "run.main.1", "run", "job", task, 1, None, Trigger.SLOT, None, Now(1, 2), State.CANCELLED,
        handle="far/x.y",
    )  # fmt: skip
    workers.adopt(adopt)
    workers.flush()
    attach = channel.sent[0]
    assert (attach[0], attach[4:]) == ("attach", (1, 2))
    assert attach[3]["order"] == {"handle": "x.y", "job": "job", "task": "main", "run": "run", "attempt": 1}
    assert ("signal", "run.main.1", 0, "cancelled") in channel.sent


def test_the_supervisor_is_told_how_to_start_each_executor() -> None:
    channel = FakeChannel()
    workers = make_workers(channel)
    far = ExecutorDefinition("far", "ssh", {"host": "h"}, 3)
    workers.configure(Settings(executors=(far, ExecutorDefinition("few", "local", max_workers=2))))
    workers.forget_plans({"SECRET"})
    workers.flush()
    _, before, (kind, executors) = channel.sent
    assert (kind, [*before[1]], [*executors]) == ("executors", ["far"], ["far"])
    assert executors["far"]["argv"][-2:] == ["-m", "taskman_cli.executors.process"]
    assert ExecutorDefinition(**executors["far"]["definition"]) == far
    assert before[1]["far"]["facts"]["hidden"] == []
    assert executors["far"]["facts"]["hidden"] == ["SECRET"]


def hello(**facts: Any) -> tuple[str, dict[str, Any]]:
    return "hello", {
        "version": PROTOCOL_VERSION,
        "generation": 1,
        "started_ns": 1,
        "scheduler_ended_ns": 2,
        "is_complete": True,
        "kept": {"a": 1},
        "attempts": [],
    } | facts


def test_the_greeting_contains_what_an_earlier_scheduler_left() -> None:
    meta = ("run", "job", "main", 1, 4, "slot")
    failed = {"message": "not found", "errno": 2, "wall_ns": 8, "elapsed_ns": 9}
    attempts = [
        ("a", meta, 7, 1, 2, None, "cancelled"),
        # A later version may tell more.
        ("b", (*meta, "far/x.b", "more"), 8, 1, 2, ENDED | {"more": 1}, "", "more"),
        ("c", meta, None, 1, 2, failed, ""),
    ]
    channel = FakeChannel()
    workers = make_workers(channel)
    workers._inbox = [hello(attempts=attempts), ("signal", 15)]
    greeting = workers.greet()
    assert (greeting.started_ns, greeting.scheduler_ended_ns, greeting.kept) == (1, 2, {"a": 1})
    assert greeting.is_complete
    about = ("run", "job", "main", 1, 4, Trigger.SLOT)
    end = events.AttemptEnded("b", Exit(0, None, 0.5, 7, 3, 1, None, True), Now(1, 2))
    assert greeting.attempts == (
        SeenAttempt("a", *about, events.Going(7, Now(1, 2), State.CANCELLED)),
        SeenAttempt("b", *about, events.Over(8, Now(1, 2), end), "far/x.b"),
        SeenAttempt("c", *about, events.StartFailed("c", "not found", is_transient=False, at=Now(8, 9))),
    )
    # What came with it is not lost.
    assert workers.take_greeted() == [("signal", 15)]
    assert workers.take_greeted() == []


def test_a_supervisor_of_another_version_is_refused() -> None:
    said = (
        rf"another version of taskman \(protocol 99, and this scheduler has {PROTOCOL_VERSION}\).*kill -TERM"
    )
    with pytest.raises(TaskmanError, match=said):
        Hello(hello(version=99)[1])


def test_a_supervisor_with_another_first_message_is_refused() -> None:
    workers = make_workers(FakeChannel())
    workers._inbox = [("nonsense", {})]
    with pytest.raises(TaskmanError, match="first message was 'nonsense'"):
        workers.greet()


def test_the_end_of_the_supervisor_is_noticed() -> None:
    channel = FakeChannel()
    channel.incoming = [None]
    with pytest.raises(SupervisorGone):
        make_workers(channel).receive()


def sharing(channel: FakeChannel, **environ: str) -> Workers:
    """Workers of a supervisor that keeps environments."""
    workers = make_workers(channel, **environ)
    workers._inbox = [hello(has_environments=True)]
    workers.greet()
    return workers


def test_an_environment_that_starts_share_is_told_once() -> None:
    channel, execution = FakeChannel(), Execution(env={"A": "1"})
    workers = sharing(channel, TASKMAN_JOB="of a run that started taskman")
    for command in (("prog",), ("prog",), "ls && ls", ("other", "a b")):
        workers.start(make_start(command, execution))
    workers.flush()
    told, *starts = channel.sent
    assert told == ("environment", 0, {"PATH": "/usr/bin:/bin", "A": "1", "PWD": "/srv"})
    assert [start[0] for start in starts] == ["start"] * 4
    for start in starts:
        assert start[3]["env"] == 0
        assert start[3]["told"] == {
            "TASKMAN_JOB": "job",
            "TASKMAN_TASK": "main",
            "TASKMAN_RUN_ID": "run",
            "TASKMAN_ATTEMPT": "2",
            "TASKMAN_SLOT": "1970-01-01T00:00:01.500000+00:00",
            "TASKMAN_TRIGGER": "catch_up",
        }


def test_a_command_without_its_shell_names_the_environment_that_the_shell_would_pass_on() -> None:
    channel = FakeChannel()
    workers = sharing(channel, **{"not-a-name": "x"})
    execution = Execution()
    for command in ("ls /", ("ls", "/")):
        workers.start(make_start(command, execution))
        workers.start(make_start(command, execution))
    workers.flush()
    told = {message[1]: message[2] for message in channel.sent if message[0] == "environment"}
    assert [message[3]["env"] for message in channel.sent if message[0] == "start"] == [0, 0, 1, 1]
    assert ["not-a-name" in told[number] for number in (0, 1)] == [False, True]


def test_numbers_of_environments_are_given_again_and_what_they_mean_is_told_first() -> None:
    channel = FakeChannel()
    workers = sharing(channel)
    executions = [Execution(env={"N": str(number)}) for number in range(40)]
    for execution in [*executions, *executions[:3], executions[-1]]:
        workers.start(make_start(("prog",), execution))
        workers.start(make_start(("prog",), execution))
    workers.flush()
    known: dict[int, str] = {}
    seen = []
    for message in channel.sent:
        if message[0] == "environment":
            known[message[1]] = message[2]["N"]
        else:
            seen.append(known[message[3]["env"]])
    expected = [execution.env["N"] for execution in [*executions, *executions[:3], executions[-1]]]
    assert seen == [value for value in expected for _ in range(2)]
    assert len(known) == 32
    assert sum(message[0] == "environment" for message in channel.sent) == 43


def test_what_is_another_at_each_start_goes_with_it() -> None:
    channel = FakeChannel()
    workers = sharing(channel)
    workers.start(replace(make_start(("prog",)), params={"P": "1"}))
    workers.flush()
    [(_, _, _, spec)] = channel.sent
    assert (spec["env"]["P"], spec["env"]["TASKMAN_JOB"]) == ("1", "job")
    assert "told" not in spec


def test_after_a_reload_environments_are_told_anew() -> None:
    channel, execution = FakeChannel(), Execution(env={"A": "1"})
    workers = sharing(channel, KEY="hidden")
    workers.start(make_start(("prog",), execution))
    workers.forget_plans({"KEY"})
    workers.start(make_start(("prog",), execution))
    workers.flush()
    told = [message for message in channel.sent if message[0] == "environment"]
    assert ["KEY" in message[2] for message in told] == [True, False]
    assert [message[3]["env"] for message in channel.sent if message[0] == "start"] == [
        message[1] for message in told
    ]


def test_an_environment_that_is_too_large_to_be_kept_goes_with_each_start() -> None:
    """If that one cannot be sent, its start fails; no other one may have its number meanwhile."""
    channel = FakeChannel()
    workers = sharing(channel)
    large = Execution(env={"A": "a" * (1 << 18)})
    for execution in (Execution(), large, large):
        workers.start(make_start(("prog",), execution))
    workers.flush()
    told, first, *others = channel.sent
    assert (told[:2], first[3]["env"]) == (("environment", 0), 0)
    assert [(spec["env"]["A"], spec["env"]["TASKMAN_JOB"]) for *_, spec in others] == [
        (large.env["A"], "job")
    ] * 2
    assert all("told" not in spec for *_, spec in others)
