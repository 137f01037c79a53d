"""Commands on other machines and in containers, with the real program, also when all of it is killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from container_engine import IMAGE, Daemon, dockerd, why_not
from e2e.running import Running
from process_table import children, command_line, is_alive, kill
from stand_in_ssh import write_stand_in
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[[str], Running]

pytestmark = pytest.mark.timeout(120)

_JOB = """
[jobs.a]
cron = "0 0 1 1 *"
executor = "far"
kill_timeout = "500ms"
run_on_start = {is_first}
{keys}
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts the program with one job on another machine; its settings go on in the next."""
    begun: list[Running] = []
    home = tmp_path / "home"
    home.mkdir()
    write_stand_in(tmp_path / "ssh", home=home, log=tmp_path / "calls")

    def begin(keys: str) -> Running:
        far = f'[executors.far]\ntype = "ssh"\nhost = "far"\nprogram = "{tmp_path}/ssh"\n'
        jobs = far + _JOB.format(keys=keys, is_first="false" if begun else "true")
        begun.append(Running(tmp_path, jobs))
        return begun[-1]

    yield begin
    for program in reversed(begun):
        program.__exit__(None, None, None)


def output(program: Running) -> bytes:
    [path] = (program.directory / "state/output/a").iterdir()
    return path.read_bytes()


def kill_all(program: Running) -> None:
    """Kill all processes of taskman at once."""
    parts = [pid for pid in children(program.process.pid) if "taskman_cli" in command_line(pid)]
    for pid in (program.process.pid, *parts):
        kill(pid)
    program.process.wait()


def printed_pid(program: Running) -> int:
    def find() -> int | None:
        found = list((program.directory / "state/output").glob("a/*"))
        text = found[0].read_text() if found else ""
        return int(text.split()[0]) if text.endswith("\n") else None

    return wait_until(find, what=f"a pid in the output: {program.log}")


def test_a_command_on_another_machine_is_like_any_other(start: Start, tmp_path: Path) -> None:
    keys = [
        """command = 'printf "%s|" "$TASKMAN_JOB" "$A"; pwd; cat; exit 3'""",
        'env = { A = "it\'s" }',
        f'cwd = "{tmp_path}"',
        'stdin = "in"',
    ]
    program = start("\n".join(keys))
    program.wait_for_log("a: failed (exit 3)")
    assert output(program) == f"a|it's|{tmp_path}\nin".encode()
    wait_until(lambda: not list((tmp_path / "home/.local/state/taskman-attempts").iterdir()))


def test_a_timeout_ends_what_ignores_it(start: Start) -> None:
    program = start("""command = "trap '' TERM; echo $$; while :; do sleep 1; done"\ntimeout = "1s\"""")
    pid = printed_pid(program)
    program.wait_for_log("a: timed out")
    wait_until(lambda: not is_alive(pid))


def test_a_stop_ends_what_runs_there(start: Start) -> None:
    program = start('command = "echo $$; exec sleep 1000"')
    pid = printed_pid(program)
    program.send(signal.SIGTERM)
    program.end()
    wait_until(lambda: not is_alive(pid))


def test_nothing_goes_on_there_when_all_of_taskman_is_killed(start: Start) -> None:
    keys = 'command = "echo $$; exec sleep 1000"'
    program = start(keys)
    pid = printed_pid(program)
    kill_all(program)
    wait_until(lambda: not is_alive(pid))
    start(keys).wait_for_log("a: lost (the connection broke, and its guard there ended it)")


def test_what_ended_there_before_a_crash_is_known_after_it(start: Start, tmp_path: Path) -> None:
    """The helper is stopped, so that it does not hear of the end, and then all is killed."""
    keys = 'command = "echo $$; until [ -e go ]; do sleep 0.05; done; exit 7"\n' + f'cwd = "{tmp_path}"'
    program = start(keys)
    printed_pid(program)
    [helper] = [
        pid for pid in children(program.process.pid) if "taskman_cli.executors.process" in command_line(pid)
    ]
    os.kill(helper, signal.SIGSTOP)
    (tmp_path / "go").touch()
    kept = tmp_path / "home/.local/state/taskman-attempts"
    wait_until(lambda: list(kept.glob("*/end")))
    kill_all(program)
    start(keys).wait_for_log("a: failed (exit 7)")
    wait_until(lambda: not list(kept.iterdir()))


def test_a_run_waits_for_a_machine_that_cannot_be_reached(start: Start, tmp_path: Path) -> None:
    before = "echo 'ssh: connect to host far port 22: No route to host' >&2; exit 255"
    write_stand_in(tmp_path / "ssh", home=tmp_path, log=tmp_path / "calls", before=before)
    program = start('command = "true"')
    program.wait_for_log("on executor far (far: ssh: connect to host far port 22: No route to host)")
    write_stand_in(tmp_path / "ssh", home=tmp_path, log=tmp_path / "calls")
    program.wait_for_log("a: succeeded")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with dockerd() as running:
        yield running


@pytest.mark.real
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_container_outlives_taskman_and_is_adopted_with_its_end(daemon: Daemon, tmp_path: Path) -> None:
    far = f'[executors.far]\ntype = "container"\nimage = "{IMAGE}"\nnetwork = "none"\npull = "never"\n'
    keys = 'command = "echo one; until [ -e /go ]; do sleep 0.05; done; echo two; exit 7"'
    environ = os.environ | {"DOCKER_HOST": daemon.host}
    with Running(tmp_path, far + _JOB.format(keys=keys, is_first="true"), environ=environ) as program:
        wait_until(lambda: list((tmp_path / "state/output").glob("a/*")) and b"one" in output(program))
        kill_all(program)
        [container] = daemon.containers()
        with Running(tmp_path, far + _JOB.format(keys=keys, is_first="false"), environ=environ) as another:
            another.wait_for_log("taking over 1 run")
            daemon.run("exec", container, "sh", "-c", ": >/go")
            another.wait_for_log("a: failed (exit 7)")
            assert output(another) == b"one\ntwo\n"
            wait_until(lambda: not daemon.containers())
