"""What an attempt that is told to end leaves behind: it is found and ended too, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import ENV, Left, SchedulerEnd, make_spec, sh
from people import Person
from process_table import is_alive, name_of
from wait import wait_until

from taskman_cli.supervisor.survey import Sought, find

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from integration.supervisor_driver import Supervision

SECOND_NS = 10**9
#: Leaves a daemon, with a session of its own, which writes its number to a file.
DAEMON = "setsid sh -c 'echo $$ > {place}/{name}; exec sleep 600' & "


@pytest.fixture
def left_alive() -> Any:
    """Kill what a test means to leave alive."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def token_of(scheduler: SchedulerEnd, key: str) -> str:
    """Return a token that no other test has."""
    return f"{key}-of-{scheduler.pid}"


def start(
    scheduler: SchedulerEnd,
    place: Path,
    script: str,
    *names: str,
    key: str = "a",
    **changes: Any,
) -> list[int]:
    """Start a command; return the numbers of the processes that it writes to files."""
    env = ENV | {"TASKMAN_TOKEN": token_of(scheduler, key)}
    scheduler.start(key, make_spec(place, sh(script), env=env, output="discard", **changes))
    scheduler.wait_for("started", key)
    return [number_in(place / name) for name in names]


def number_in(path: Path) -> int:
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), what=str(path)) or 0)


def end(
    scheduler: SchedulerEnd,
    key: str = "a",
    *,
    number: int = signal.SIGTERM,
    patience_ns: int = 60 * SECOND_NS,
    uid: int | None = None,
    ending: str = "timed_out",
) -> None:
    """Tell an attempt to end, as a scheduler does for one with `kill_orphans`."""
    owner = os.geteuid() if uid is None else uid
    wish = ("survivors", key, token_of(scheduler, key), owner, int(number), patience_ns)
    scheduler.send(wish, ("signal", key, int(number), ending))


def told(scheduler: SchedulerEnd, key: str = "a") -> tuple[str, int, int, list[int]]:
    """Return the next message about survivors: what, signal, count and the numbers of those named."""
    _, _, meta, what, number, count, named = scheduler.wait_for("survivors", key)
    assert meta == b"meta"
    return what, number, count, [pid for pid, _ in named]


def test_what_has_left_the_group_gets_the_signal_too(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    script = DAEMON.format(place=tmp_path, name="one") + "exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler)
    assert told(scheduler) == ("signalled", signal.SIGTERM, 1, [pid])
    kinds = [message[0] for message in scheduler.poll()]
    assert kinds in ([], ["ended"])  # it was told before the end
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGTERM
    wait_until(lambda: not is_alive(pid))


def test_its_name_is_told(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    (pid,) = start(scheduler, tmp_path, DAEMON.format(place=tmp_path, name="one") + "exec sleep 600", "one")
    wait_until(lambda: name_of(pid) == "sleep")
    end(scheduler)
    assert scheduler.wait_for("survivors")[6] == [(pid, "sleep")]


@pytest.mark.parametrize("script", ["exec sleep 600", "true"], ids=["in time", "by itself"])
def test_a_daemon_of_an_attempt_that_nobody_told_to_end_lives_on(
    scheduler: SchedulerEnd, tmp_path: Path, left_alive: list[int], script: str
) -> None:
    (pid,) = start(scheduler, tmp_path, DAEMON.format(place=tmp_path, name="one") + script, "one")
    left_alive.append(pid)
    if script != "true":
        scheduler.signal("a", signal.SIGTERM)
    scheduler.wait_for("ended", "a")
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0
    assert (is_alive(pid), scheduler.find("survivors")) == (True, None)


def test_without_the_wish_nothing_is_looked_for(
    scheduler: SchedulerEnd, tmp_path: Path, left_alive: list[int]
) -> None:
    script = DAEMON.format(place=tmp_path, name="one") + "exec sleep 600"
    left_alive += start(scheduler, tmp_path, script, "one")
    scheduler.signal("a", signal.SIGTERM, "cancelled")
    scheduler.wait_for("ended", "a")
    assert (is_alive(left_alive[0]), scheduler.find("survivors")) == (True, None)


def test_other_attempts_keep_theirs(scheduler: SchedulerEnd, tmp_path: Path, left_alive: list[int]) -> None:
    script = DAEMON + "exec sleep 600"
    (mine,) = start(scheduler, tmp_path, script.format(place=tmp_path, name="a"), "a")
    left_alive += start(scheduler, tmp_path, script.format(place=tmp_path, name="b"), "b", key="b")
    left_alive += start(scheduler, tmp_path, DAEMON.format(place=tmp_path, name="c"), "c", key="c")
    end(scheduler)
    assert told(scheduler) == ("signalled", signal.SIGTERM, 1, [mine])
    wait_until(lambda: not is_alive(mine))
    assert [is_alive(pid) for pid in left_alive] == [True, True]


def test_a_survivor_that_ignores_the_signal_is_killed_after_the_patience(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/one; sleep 600; sleep 600' & exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler, patience_ns=SECOND_NS // 5)
    assert told(scheduler)[:2] == ("signalled", signal.SIGTERM)
    assert told(scheduler)[:2] == ("signalled", signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def test_the_signal_is_the_one_of_the_attempt_and_kill_comes_at_once(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    trap = f"trap 'echo got >> {tmp_path}/got; exit' USR1; echo $$ > {tmp_path}/one; sleep 600 & wait"
    (tmp_path / "trap").write_text(trap)
    start(scheduler, tmp_path, f"setsid sh {tmp_path}/trap & exec sleep 600", "one")
    end(scheduler, number=signal.SIGUSR1)
    assert told(scheduler)[:2] == ("signalled", signal.SIGUSR1)
    wait_until((tmp_path / "got").exists)
    script = DAEMON.format(place=tmp_path, name="two") + "exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "two", key="b")
    end(scheduler, "b", number=signal.SIGKILL)
    assert told(scheduler, "b") == ("signalled", signal.SIGKILL, 1, [pid])


def test_a_survivor_that_is_stopped_goes_on_to_end(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    (pid,) = start(scheduler, tmp_path, DAEMON.format(place=tmp_path, name="one") + "exec sleep 600", "one")
    os.kill(pid, signal.SIGSTOP)
    end(scheduler)
    wait_until(lambda: not is_alive(pid))


def test_what_left_only_the_group_is_known_by_its_session(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    script = f"set -m; env -i PATH=$PATH sh -c 'echo $$ > {tmp_path}/one; exec sleep 600' & exec sleep 600"
    scheduler.start("a", make_spec(tmp_path, ["bash", "-c", script], output="discard"))
    pid = number_in(tmp_path / "one")
    end(scheduler)
    assert told(scheduler) == ("signalled", signal.SIGTERM, 1, [pid])


def test_children_of_a_survivor_are_ended_with_it(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    inner = f'setsid env -i PATH=$PATH sh -c "echo \\$\\$ > {tmp_path}/two; exec sleep 600" & '
    script = f"setsid sh -c '{inner} echo $$ > {tmp_path}/one; wait' & exec sleep 600"
    pids = start(scheduler, tmp_path, script, "one", "two")
    end(scheduler)
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_daemon_whose_parents_are_gone_is_known_by_its_token(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = "(" + DAEMON.format(place=tmp_path, name="one") + "true); exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler)
    assert told(scheduler) == ("signalled", signal.SIGTERM, 1, [pid])


def test_a_process_that_forks_without_end_is_killed_in_the_end_and_holds_nothing_up(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    # Each lives for a moment only, and has begun the next one by then.
    script = """
import os, time
for _ in range(1000):
    os.setsid()
    if os.fork():
        time.sleep(0.02)
        os._exit(0)
"""
    (tmp_path / "bomb.py").write_text(script)
    start(scheduler, tmp_path, f"setsid python3 -IS {tmp_path}/bomb.py & exec sleep 600")
    end(scheduler, patience_ns=0)
    scheduler.wait_for("ended", "a")
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0
    scheduler.send(("exit", 0))
    scheduler.leave()


def test_a_stop_waits_for_what_is_being_ended(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/one; sleep 600; sleep 600' & exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler, patience_ns=SECOND_NS // 2, ending="cancelled")
    scheduler.wait_for("ended", "a")
    scheduler.send(("exit", 7))
    scheduler.leave()
    assert supervision.wait() == 7
    assert not is_alive(pid)


def test_a_second_interrupt_does_not_wait(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/one; sleep 600; sleep 600' & exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler, patience_ns=600 * SECOND_NS, ending="cancelled")
    scheduler.wait_for("ended", "a")
    scheduler.send(("exit", 0))
    scheduler.leave()
    supervision.signal(signal.SIGINT)
    supervision.signal(signal.SIGQUIT)
    assert supervision.wait() == 0
    assert not is_alive(pid)


def test_a_new_scheduler_gets_the_end_and_the_hunt_goes_on(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    script = f"setsid sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/one; sleep 600; sleep 600' & exec sleep 600"
    (pid,) = start(scheduler, tmp_path, script, "one")
    end(scheduler, patience_ns=SECOND_NS)
    scheduler.kill()
    other = supervision.accept()
    wait_until(lambda: not is_alive(pid))
    ends = [attempt[5] for attempt in other.hello["attempts"] if attempt[0] == "a"]
    assert ends[0] is not None or other.wait_for("ended", "a")[2]["status"] == signal.SIGTERM


def test_survivors_of_an_adopted_command_are_found_though_they_are_not_our_children(
    supervise: Callable[..., Supervision], tmp_path: Path
) -> None:
    first = supervise()
    scheduler = first.accept()
    env = ENV | {"TASKMAN_TOKEN": "adopted"}
    script = DAEMON.format(place=tmp_path, name="one") + "exec sleep 600"
    scheduler.start("a", make_spec(tmp_path, sh(script), env=env, output="discard"))
    _, _, leader, wall_ns, elapsed_ns = scheduler.wait_for("started", "a")
    pid = number_in(tmp_path / "one")
    first.process.kill()
    first.wait()
    (tmp_path / "control").unlink()
    second = supervise().accept()
    assert second.adopt("a", Left(leader, wall_ns, elapsed_ns, None, 0)) == ("adopted", "a", leader)
    second.send(
        ("survivors", "a", "adopted", os.geteuid(), int(signal.SIGTERM), SECOND_NS),
        ("signal", "a", int(signal.SIGTERM), "timed_out"),
    )
    assert told(second) == ("signalled", signal.SIGTERM, 1, [pid])
    assert second.wait_for("ended", "a")[2]["status"] is None
    wait_until(lambda: not is_alive(pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs commands as another user")
def test_only_processes_of_the_attempts_user_count(
    scheduler: SchedulerEnd, public_path: Path, mallory: Person, alice: Person, left_alive: list[int]
) -> None:
    script = DAEMON.format(place=public_path, name="one") + "exec sleep 600"
    (pid,) = start(scheduler, public_path, script, "one", user=mallory.spec)
    with subprocess.Popen(
        ["sleep", "600"],
        env=ENV | {"TASKMAN_TOKEN": token_of(scheduler, "a")},
        user=alice.uid,
        group=alice.gid,
    ) as forged:
        end(scheduler, uid=mallory.uid)
        assert told(scheduler) == ("signalled", signal.SIGTERM, 1, [pid])
        wait_until(lambda: not is_alive(pid))
        assert forged.poll() is None
        forged.kill()


def test_a_broken_wish_harms_nothing(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    wishes: Sequence[tuple[Any, ...]] = [
        ("survivors", "a"), ("survivors", "a", "t", "uid", 15, 0), ("survivors", None, "t", 0, 15, 0),
    ]  # fmt: skip
    start(scheduler, tmp_path, "exec sleep 600")
    for wish in wishes:
        scheduler.send(wish)
    scheduler.signal("a", signal.SIGTERM, "cancelled")
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGTERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs commands as another user")
def test_a_user_whose_commands_end_too_gets_none_of_another_s_processes_by_forging_a_token() -> None:
    # Both are looked for in one survey, so the processes of both users are known to it.
    users = {"alice": 2_000_011, "mallory": 2_000_012}
    tokens = {name: f"of-{name}-{os.getpid()}" for name in users}
    processes = {
        (name, token): subprocess.Popen(
            ["sleep", "600"], env={"TASKMAN_TOKEN": tokens[token]}, user=uid, start_new_session=True, cwd="/"
        )
        for name, uid in users.items()
        for token in users
    }
    try:
        sought = {name: Sought(1 << 30, tokens[name], uid) for name, uid in users.items()}
        found = find(sought, besides=set())
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    assert {name: [pid for pid, *_ in rows] for name, rows in found.items()} == {
        name: [processes[name, name].pid] for name in users
    }
