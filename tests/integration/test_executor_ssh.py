"""Type "ssh" with a stand-in for the ssh program, which runs the remote command on this machine."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.executor_driver import Attempt, driven, outcome_on, until
from process_table import is_alive
from stand_in_ssh import write_stand_in
from wait import wait_until

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors import farside
from taskman_cli.executors.base import Absent, ConnectionLost, Order, Result, StartFailed, Unknown
from taskman_cli.executors.ssh import make
from taskman_cli.executors.surroundings import Surroundings
from taskman_cli.executors.testing import check, in_shell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from people import Person

    from taskman_cli.executors.base import Executor

_handles = (f"h-{number}" for number in itertools.count())


class Far:
    """The other side, which is a directory here."""

    def __init__(self, directory: Path, *, sh: str | None = None) -> None:
        self._sh = sh
        self.home = directory / "home"
        self.home.mkdir()
        self.program = directory / "ssh"
        self.log = directory / "calls"
        self.set_up()
        self.settings: dict[str, Any] = {"host": "far", "program": str(self.program)}
        self.own = directory / "own"
        self.own.mkdir(mode=0o700)

    def set_up(self, *, before: str = "", shell: str = "/bin/sh") -> None:
        write_stand_in(self.program, home=self.home, log=self.log, before=before, shell=shell, sh=self._sh)

    @property
    def has_all_programs(self) -> bool:
        return self._sh is not None and self._sh.endswith("busybox")

    @property
    def kept(self) -> Path:
        return self.home / ".local/state/taskman-attempts"

    def executor(self) -> Executor:
        environ = {"PATH": os.environ["PATH"]}
        around = Surroundings(directory=self.own, environ=environ)
        return make(ExecutorDefinition("far", "ssh", settings=self.settings), around)

    def play(self, play: Callable[[Executor], Awaitable[None]]) -> None:
        driven(self.executor, play)

    def outcome(self, order: Order) -> tuple[Result, bytes]:
        """Run one attempt to its end, and remove what is kept of it."""
        return outcome_on(self.executor, order)


@pytest.fixture(
    params=[
        None,
        pytest.param("bash", marks=pytest.mark.real),
        pytest.param("busybox", marks=pytest.mark.real),
    ],
    ids=["sh", "bash", "busybox"],
)
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Far:
    """Return another side whose /bin/sh is that of this machine, bash or busybox."""
    if request.param is None:
        return Far(tmp_path)
    sh = shutil.which(request.param)
    if sh is None:
        pytest.skip(f"{request.param} is not installed")
    tried = ["unshare", "--mount", "mount", "--bind", sh, os.path.realpath("/bin/sh")]
    if subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("another /bin/sh needs a mount namespace")
    return Far(tmp_path, sh=sh)


def order(command: str | tuple[str, ...], **more: Any) -> Order:
    return Order(handle=next(_handles), job="j", task="main", run="r", attempt=1, command=command, **more)


def test_commands_on_another_machine_conform(far: Far) -> None:
    check(far.executor, say=in_shell, finds_again=True)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("true", Result(exit_code=0)),
        ("exit 7", Result(exit_code=7)),
        ("exit 137", Result(exit_code=137)),
        ("exit 255", Result(exit_code=255)),
        ("kill -KILL $$", Result(signal=signal.SIGKILL)),
        ("kill -TERM $$", Result(signal=signal.SIGTERM)),
        ("kill -XCPU $$", Result(signal=signal.SIGXCPU)),
    ],
)
def test_exit_codes_and_signals_are_told_apart(far: Far, command: str, expected: Result) -> None:
    assert far.outcome(order(command)) == (expected, b"")


def test_output_and_errors_come_together_and_as_they_are(far: Far) -> None:
    assert far.outcome(order("printf 'a\\000\\377'; printf b >&2")) == (Result(exit_code=0), b"a\0\xffb")


def test_ten_megabytes_of_random_bytes_come_complete(far: Far) -> None:
    data = os.urandom(10 << 20)
    (far.home / "data").write_bytes(data)
    result, output = far.outcome(order(("cat", "data"), cwd=str(far.home)))
    assert result == Result(exit_code=0)
    assert output == data


def test_words_variables_input_and_directory_arrive_unchanged(far: Far) -> None:
    odd = 'it\'s "\\n" $HOME `x`\n.\n:\n* \udcff é\t '
    place = far.home / "a 'b'\n."
    place.mkdir()
    data = bytes(range(256)) * 20 + b"%s\\ -n"
    command = ("sh", "-c", 'pwd; printf "%s|" "$1" "$ODD"; umask; cat', "sh", odd)
    result, output = far.outcome(order(command, env={"ODD": odd}, stdin=data, cwd=str(place), umask=0o27))
    text = os.fsencode(odd)
    assert result == Result(exit_code=0)
    assert output == os.fsencode(place) + b"\n" + text + b"|" + text + b"|0027\n" + data


def test_nothing_of_a_job_is_in_an_argument_of_ssh(far: Far) -> None:
    far.outcome(order("echo SECRET", env={"A": "SECRET"}, cwd=str(far.home), stdin=b"SECRET"))
    calls = far.log.read_text()
    assert "-o BatchMode=yes" in calls
    assert "SECRET" not in calls


def test_standard_input_is_empty_without_one(far: Far) -> None:
    assert far.outcome(order("cat; echo over")) == (Result(exit_code=0), b"over\n")


def test_the_umask_is_that_of_the_other_side(far: Far) -> None:
    assert far.outcome(order("umask"))[1] == b"%04o\n" % _umask()


def _umask() -> int:
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def test_interrupts_are_not_ignored(far: Far) -> None:
    result, output = far.outcome(order("grep SigIgn /proc/self/status"))
    assert result == Result(exit_code=0)
    assert int(output.split()[1], 16) & 1 << (signal.SIGINT - 1) == 0


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_what_a_start_file_prints_is_not_output(far: Far, shell: str) -> None:
    far.set_up(before="echo Welcome to far; echo motd >&2", shell=shell)
    assert far.outcome(order("echo mine")) == (Result(exit_code=0), b"mine\n")


def test_signals_reach_the_whole_group_and_the_result_says_so(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("sleep 1000 & echo $!; wait"))
        attempt.begin()
        await attempt.printed(b"\n")
        await attempt.signal(signal.SIGTERM)
        assert await attempt.result() == Result(signal=signal.SIGTERM)
        await until(lambda: not is_alive(int(attempt.output)))

    far.play(play)


def test_a_command_may_end_by_itself_when_it_is_told_to(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(
            executor, order("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
        )
        attempt.begin()
        await attempt.printed(b"up")
        await attempt.signal(signal.SIGTERM)
        assert await attempt.result() == Result(exit_code=3)
        assert attempt.output.endswith(b"bye\n")

    far.play(play)


def test_kill_ends_a_stopped_command_that_ignores_all_else(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("trap '' TERM INT HUP; echo up; kill -STOP $$"))
        attempt.begin()
        await attempt.printed(b"up")
        await attempt.signal(signal.SIGINT)
        await attempt.signal(signal.SIGKILL)
        assert await attempt.result() == Result(signal=signal.SIGKILL)

    far.play(play)


def test_what_a_command_leaves_behind_does_not_hold_its_end(far: Far) -> None:
    result, output = far.outcome(order("sleep 1000 & echo $!"))
    assert result == Result(exit_code=0)
    assert is_alive(int(output))
    os.kill(int(output), signal.SIGKILL)


def test_a_cut_line_ends_the_command_and_is_no_failure(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("sleep 1000 & echo $!; wait"))
        attempt.begin()
        await attempt.printed(b"\n")
        executor._lines[attempt.order.handle].cut()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionLost):
            await attempt.result()
        assert await attempt.settled() == Absent("the connection broke, and its guard there ended it")
        await until(lambda: not is_alive(int(attempt.output)))

    far.play(play)


def test_an_end_that_was_not_heard_is_asked_for(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("exit 5"))
        attempt.begin()
        await attempt.result()
        assert await attempt.settled() == Result(exit_code=5)
        await executor.forget(attempt.order)
        assert await attempt.settled() == Absent("there is no trace of its end on the other side")

    far.play(play)


def test_an_attempt_is_followed_by_a_second_connection(far: Far) -> None:
    async def play(executor: Executor) -> None:
        words = "echo up; until [ -e go ]; do sleep 0.02; done; echo on; sleep 0.2; echo over; exit 4"
        one = order(words, cwd=str(far.home))
        attempt = Attempt(executor, one)
        first = attempt.begin()
        await attempt.printed(b"up")
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        await again.started()
        first.cancel()  # the guard of the first hears it, and leaves the command to the second
        await asyncio.gather(first, return_exceptions=True)
        (far.home / "go").touch()
        assert await again.result() == Result(exit_code=4)
        assert bytes(again.output) == b"on\nover\n"

    far.play(play)


def test_a_dead_process_that_its_parent_has_not_heard_of_is_not_waited_for(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The parent of the first `cat` is the first guard, which waits for the command.
    slow = farside._ATTACH.replace("for l in 0 1 1 1 1", "for l in 0 20 20 20 20")
    assert slow != farside._ATTACH
    monkeypatch.setattr(farside, "_ATTACH", slow)

    async def play(executor: Executor) -> None:
        one = order("echo up; exec sleep 1000")
        first = Attempt(executor, one)
        first.begin()
        await first.printed(b"up")
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        await again.started()

    far.play(play)


def test_an_attempt_of_the_version_before_is_followed_without_its_output(far: Far) -> None:
    async def play(executor: Executor) -> None:
        one = order("echo up; until [ -e go ]; do sleep 0.02; done; exit 4", cwd=str(far.home))
        attempt = Attempt(executor, one)
        attempt.begin()
        await attempt.printed(b"up")
        (far.kept / one.handle / "out").unlink()
        again = Attempt(executor, one)
        again.begin(is_attached=True)
        await again.started()
        (far.home / "go").touch()
        assert await again.result() == Result(exit_code=4)

    far.play(play)


def test_what_holds_the_output_of_a_command_open_holds_no_process_after_its_end(far: Far) -> None:
    async def play(executor: Executor) -> None:
        one = order("setsid sleep 1000 & echo $!")
        attempt = Attempt(executor, one)
        attempt.begin()
        assert await attempt.result() == Result(exit_code=0)
        passer = int((far.kept / one.handle / "cat").read_text().split()[0])
        await executor.forget(one)
        try:
            await until(lambda: not is_alive(passer))
        finally:
            os.kill(int(attempt.output), signal.SIGKILL)

    far.play(play)


def test_a_cut_line_leaves_no_process_with_what_has_left_the_group(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("setsid sh -c 'echo $$; exec sleep 1000' & wait"))
        attempt.begin()
        await attempt.printed(b"\n")
        place = far.kept / attempt.order.handle
        ours = [int((place / name).read_text().split()[0]) for name in ("cat", "guard", "pid")]
        executor._lines[attempt.order.handle].cut()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionLost):
            await attempt.result()
        try:
            await until(lambda: not any(map(is_alive, ours)))
        finally:
            os.kill(int(attempt.output), signal.SIGKILL)

    far.play(play)


def test_a_guard_that_was_killed_takes_its_command_with_it(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo $$; exec sleep 1000"))
        attempt.begin()
        await attempt.printed(b"\n")
        guard = int((far.kept / attempt.order.handle / "guard").read_text().split()[0])
        os.kill(guard, signal.SIGKILL)
        assert isinstance(await attempt.settled(), Absent)
        await until(lambda: not is_alive(int(attempt.output)))

    far.play(play)


def test_nothing_is_left_behind(far: Far) -> None:
    far.outcome(order("true"))
    assert list(far.kept.iterdir()) == []
    assert far.kept.stat().st_mode & 0o777 == 0o700


def test_what_is_kept_is_nobody_elses(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo up; exec sleep 1000", env={"A": "SECRET"}, stdin=b"SECRET"))
        attempt.begin()
        await attempt.printed(b"up")
        place = far.kept / attempt.order.handle
        assert place.stat().st_mode & 0o777 == 0o700
        assert [
            path.name for path in place.iterdir() if path.is_file() and "SECRET" in path.read_text()
        ] == []

    far.play(play)


def _refused(far: Far, one: Order) -> StartFailed:
    with pytest.raises(StartFailed) as caught:
        far.outcome(one)
    return caught.value


def test_a_refused_login_says_what_ssh_says(far: Far) -> None:
    far.set_up(before="echo 'me@far: Permission denied (publickey).' >&2; exit 255")
    error = _refused(far, order("true"))
    assert str(error) == "far: me@far: Permission denied (publickey)."
    assert not error.is_transient


@pytest.mark.parametrize(
    "words",
    [
        "ssh: connect to host far port 22: No route to host",
        "ssh: connect to host far port 22: Connection refused",
        "ssh: Could not resolve hostname far: Temporary failure in name resolution",
        "kex_exchange_identification: Connection closed by remote host",
    ],
    ids=["no route", "refused", "resolver", "too many"],
)
def test_a_side_that_cannot_be_reached_is_waited_for(far: Far, words: str) -> None:
    far.set_up(before=f"echo '{words}' >&2; exit 255")
    error = _refused(far, order("true"))
    assert (str(error), error.is_transient) == (f"far: {words}", True)


def test_a_name_that_nobody_knows_is_not_waited_for(far: Far) -> None:
    far.set_up(before="echo 'ssh: Could not resolve hostname far: Name or service not known' >&2; exit 255")
    assert not _refused(far, order("true")).is_transient


def test_a_directory_that_is_not_there_is_told(far: Far) -> None:
    error = _refused(far, order("true", cwd="/nope"))
    assert str(error) == "far: its directory /nope cannot be entered"
    assert not list(far.kept.iterdir())


@pytest.mark.parametrize(("part", "run"), [("_WATCH", "exec "), ("_START", "")], ids=["cat", "watch"])
def test_it_is_told_although_what_runs_beside_the_guard_begins_late(
    far: Far, monkeypatch: pytest.MonkeyPatch, part: str, run: str
) -> None:
    begun = r"(?m)^( *)(.*[^&]) &$"
    late, count = re.subn(begun, rf"\1{{ sleep 0.5; {run}\2; }} &", getattr(farside, part))
    assert count == 1
    monkeypatch.setattr(farside, part, late)
    assert str(_refused(far, order("true", cwd="/nope"))) == "far: its directory /nope cannot be entered"
    assert far.outcome(order("echo a; exit 3")) == (Result(exit_code=3), b"a\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="a limit of processes does not hold root")
@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("_START", "e=$(mkfifo"),
        ("_WATCH", "    cat <"),
        ("_START", "watch &"),
        ("_START", "o=$(/bin/sh"),
        ("_START", "    setsid"),
    ],
    ids=["pipe", "cat", "watch", "shell", "session"],
)
def test_what_there_are_no_processes_for_starts_when_there_are_some(
    public_path: Path, alice: Person, monkeypatch: pytest.MonkeyPatch, part: str, line: str
) -> None:
    far = Far(public_path)
    alice.owns(far.home)
    far.set_up(shell=f"setpriv --reuid={alice.uid} --regid={alice.gid} --clear-groups /bin/sh")
    one = order("echo a; exit 3")
    text = getattr(farside, part)
    assert text.count(f"\n{line}") == 1
    with monkeypatch.context() as shortage:
        few = text.replace(f"\n{line}", f"\nprlimit --pid=$$ --nproc=1\n{line}")
        shortage.setattr(farside, part, few)
        assert _refused(far, one).is_transient
    assert far.outcome(one) == (Result(exit_code=3), b"a\n")


def test_a_missing_program_is_told(far: Far) -> None:
    far.settings["program"] = "/nope/ssh"
    assert "cannot run /nope/ssh" in str(_refused(far, order("true")))


@pytest.mark.parametrize("program", ["setsid", "mkfifo"])
def test_a_side_without_what_the_guard_needs_says_so(far: Far, program: str) -> None:
    if far.has_all_programs:
        pytest.skip("busybox has them without a file")
    places = far.home / "bin"
    places.mkdir()
    for name in ("cat", "mkdir", "mkfifo", "printf", "rm", "setsid", "sh", "uname"):
        if name != program:
            (places / name).symlink_to(shutil.which(name) or name)
    far.set_up(shell=f"/usr/bin/env PATH={places} /bin/sh")

    async def play(executor: Executor) -> None:
        (finding,) = await executor.check()
        assert (finding.is_good, finding.words) == (False, f"far: it has no program {program}")

    far.play(play)
    assert str(_refused(far, order("true"))) == f"far: it has no program {program}"


def test_a_directory_that_cannot_be_made_is_told(far: Far) -> None:
    (far.home / ".local").touch()
    assert "Not a directory" in str(_refused(far, order("true")))


def test_a_link_in_place_of_the_directory_is_refused(far: Far) -> None:
    far.kept.parent.mkdir(parents=True)
    far.kept.symlink_to("/tmp")
    assert "is not a directory of the user's own" in str(_refused(far, order("true")))


def test_a_full_disk_there_is_told(far: Far) -> None:
    shell = far.home / "shell"
    shell.write_text("#!/bin/sh\nulimit -f 0; trap '' XFSZ\nexec /bin/sh \"$@\"\n")
    shell.chmod(0o755)
    far.set_up(shell=str(shell))
    assert "is the disk full?" in str(_refused(far, order("true")))


def test_a_variable_that_a_shell_cannot_set_is_told(far: Far) -> None:
    assert "a shell cannot set the variable" in str(_refused(far, order("true", env={"a-b": "1"})))


def test_an_unreachable_side_leaves_an_attempt_unknown(far: Far) -> None:
    async def play(executor: Executor) -> None:
        far.set_up(before="echo 'Connection refused' >&2; exit 255")
        assert await executor.probe(order("true")) == Unknown("far: Connection refused")

    far.play(play)


def test_many_attempts_share_connections(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempts = [Attempt(executor, order(f"echo {number}; exit {number}")) for number in range(20)]
        for attempt in attempts:
            attempt.begin()
        results = [await attempt.result() for attempt in attempts]
        assert results == [Result(exit_code=number) for number in range(20)]
        assert [bytes(attempt.output) for attempt in attempts] == [b"%d\n" % number for number in range(20)]

    far.play(play)
    calls = far.log.read_text()
    assert 1 <= calls.count("ControlMaster=yes") <= 3


def test_what_could_not_be_removed_there_is_removed_later(far: Far) -> None:
    async def play(executor: Executor) -> None:
        first, second = Attempt(executor, order("true")), Attempt(executor, order("true"))
        first.begin()
        await first.result()
        far.set_up(before="echo 'No route to host' >&2; exit 255")
        with pytest.raises(ConnectionLost, match="No route to host"):
            await executor.forget(first.order)
        far.set_up()
        second.begin()
        await second.result()
        await executor.forget(second.order)
        assert list(far.kept.iterdir()) == []

    far.play(play)


def test_an_attempt_that_was_given_up_as_lost_is_killed_when_it_is_forgotten(far: Far) -> None:
    async def play(executor: Executor) -> None:
        attempt = Attempt(executor, order("echo $$; exec sleep 1000"))
        task = attempt.begin()
        await attempt.printed(b"\n")
        await executor.forget(attempt.order)
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not is_alive(int(attempt.output)))

    far.play(play)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "alone"])
def test_a_side_that_says_nothing_is_given_up(
    far: Far, monkeypatch: pytest.MonkeyPatch, is_shared: bool
) -> None:
    monkeypatch.setattr("taskman_cli.executors.ssh._FIRST_WORD_S", 0.2)
    far.settings |= {"connect_timeout_ns": 1, "multiplex": is_shared}
    far.set_up(before="exec sleep 1000")
    assert " for 0.2 s" in str(_refused(far, order("true"))).replace("within", "for")


@pytest.mark.real
@pytest.mark.parametrize("shell", ["fish", "zsh", "tcsh"])
def test_any_login_shell_will_do(far: Far, shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    far.set_up(shell=path)
    assert far.outcome(order("echo 'it works'; exit 3")) == (Result(exit_code=3), b"it works\n")


def test_an_unreachable_side_is_asked_once_for_all_that_wait(far: Far) -> None:
    far.set_up(before="sleep 0.2; echo 'Connection timed out' >&2; exit 255")

    async def play(executor: Executor) -> None:
        attempts = [Attempt(executor, order("true")) for _ in range(10)]
        tasks = [attempt.begin() for attempt in attempts]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {"far: Connection timed out"}

    far.play(play)
    assert far.log.read_text().count("\n") == 1


@pytest.mark.parametrize("words", ["sh: 1: Cannot fork", "sh: fork: retry: Resource temporarily unavailable"])
def test_a_want_of_processes_there_may_be_over_soon(far: Far, words: str) -> None:
    far.set_up(before=f"case $* in *taskman-master*) ;; *) echo '{words}' >&2; exit 2 ;; esac")
    assert _refused(far, order("true")).is_transient


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected from others")
def test_a_program_that_another_user_can_change_is_not_run_by_root(far: Far) -> None:
    far.program.chmod(0o777)
    with pytest.raises(ValueError, match="can write"):
        far.executor()


def test_a_close_leaves_no_process(far: Far) -> None:
    attempts: list[Attempt] = []

    async def play(executor: Executor) -> None:
        attempts.append(Attempt(executor, order("echo $$; exec sleep 1000")))
        task = attempts[0].begin()
        await attempts[0].printed(b"\n")
        await executor.close()
        with pytest.raises(ConnectionLost):
            await task

    far.play(play)
    pid = int(attempts[0].output)
    wait_until(lambda: not is_alive(pid))


def test_a_check_tells_the_system_or_the_trouble(far: Far) -> None:
    async def play(executor: Executor) -> None:
        (finding,) = await executor.check()
        assert finding.is_good
        assert finding.words.startswith(f"far: {os.uname().sysname}")
        far.set_up(before="echo 'Host key verification failed.' >&2; exit 255")

    far.play(play)

    async def play_again(executor: Executor) -> None:
        (finding,) = await executor.check()
        assert not finding.is_good
        assert finding.words == "far: Host key verification failed."
        ssh = f"{far.program} -o BatchMode=yes -o Port=2222 -o 'ProxyCommand=nc %h %p' -l deploy far true"
        assert finding.advice == f"try it with: {ssh}"

    far.settings |= {"user": "deploy", "options": {"Port": 2222, "ProxyCommand": "nc %h %p"}}
    far.play(play_again)
