"""What a command finds when the real supervisor starts it, and what is said when it cannot be started."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, sh
from process_table import descriptors, is_alive, status_of

from taskman_cli.supervisor.children import Children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def output(scheduler: SchedulerEnd, directory: Path, argv: list[str], **changes: Any) -> str:
    """Run a command; return what it printed."""
    end = scheduler.run("a", make_spec(directory, argv, **changes))
    assert end["status"] == 0
    return (directory / "out").read_text()


def test_a_command_gets_exactly_its_environment(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "A": "1 2", "ODD-NAME": "å=", "EMPTY": ""}
    printed = output(scheduler, tmp_path, ["env", "-0"], env=env)
    assert sorted(printed.split("\0")[:-1]) == sorted(f"{name}={value}" for name, value in env.items())


def test_a_command_gets_its_words_as_they_are(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    words = ["", "a b", "$HOME;*", "å", "\udcff", "-n"]
    scheduler.run("a", make_spec(tmp_path, ["printf", "%s|", *words]))
    assert (tmp_path / "out").read_bytes() == b"".join(os.fsencode(word) + b"|" for word in words)


def test_a_command_starts_in_its_directory_and_the_next_one_is_back_home(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "a dir"
    elsewhere.mkdir()
    assert output(scheduler, tmp_path, ["/bin/pwd"], cwd=str(elsewhere)) == f"{elsewhere}\n"
    scheduler.run("b", make_spec(tmp_path, ["/bin/pwd"]))
    assert (tmp_path / "out").read_text() == f"{os.getcwd()}\n"  # noqa: PTH109


@pytest.mark.parametrize("link", [False, True], ids=["by its name", "through a link"])
def test_a_directory_that_each_process_has_is_the_command_s_own(
    scheduler: SchedulerEnd, tmp_path: Path, link: bool
) -> None:
    cwd = "/proc/self"
    if link:
        (tmp_path / "own").symlink_to(cwd)
        cwd = str(tmp_path / "own")
    is_own = "read -r pid rest < stat; [ $pid = $$ ] && echo own"
    assert output(scheduler, tmp_path, ["/bin/sh", "-c", is_own], cwd=cwd) == "own\n"


def test_a_program_is_found_relative_to_the_directory(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "tool").chmod(0o755)
    assert output(scheduler, tmp_path, ["./tool"], cwd=str(tmp_path)) == "found\n"
    scheduler.send(("forget", ["a"]))
    assert output(scheduler, tmp_path, ["tool"], cwd=str(tmp_path), env={"PATH": "/bin:"}) == "found\n"


def test_a_program_is_found_in_the_search_path_of_the_task(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    for name, mode in {"first": 0o644, "second": 0o755, "third": 0o755}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "tool").chmod(mode)
    (tmp_path / "zeroth" / "tool").mkdir(parents=True)
    path = ":".join(str(tmp_path / name) for name in ("zeroth", "first", "second", "third"))
    assert output(scheduler, tmp_path, ["tool"], env={"PATH": path}) == "second\n"


def test_without_a_search_path_the_usual_one_is_searched(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    assert output(scheduler, tmp_path, ["echo", "found"], env={}) == "found\n"


def test_a_command_has_its_umask_and_the_next_one_ours(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    ours = os.umask(0o22)
    os.umask(ours)
    assert int(output(scheduler, tmp_path, sh("umask"), umask=0o27), 8) == 0o27
    scheduler.run("b", make_spec(tmp_path, sh("umask")))
    assert int((tmp_path / "out").read_text(), 8) == ours


def test_a_command_has_its_niceness_and_the_next_one_ours(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert int(output(scheduler, tmp_path, ["nice"], nice=7)) == 7
    scheduler.run("b", make_spec(tmp_path, ["nice"]))
    assert int((tmp_path / "out").read_text()) == ours
    assert os.getpriority(os.PRIO_PROCESS, supervision.pid) == ours


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        pytest.param(None, "", id="nothing"),
        pytest.param("one\ntwo å\n", "one\ntwo å\n", id="text"),
        pytest.param("", "", id="empty text"),
        pytest.param(b"bytes", "bytes", id="bytes"),
        pytest.param("x" * 300_000, "x" * 300_000, id="more than a pipe holds"),
    ],
)
def test_a_command_reads_its_input(
    scheduler: SchedulerEnd, tmp_path: Path, stdin: str | bytes | None, expected: str
) -> None:
    end = scheduler.run("a", make_spec(tmp_path, ["cat"], stdin=stdin))
    assert end["status"] == 0
    assert end["output_bytes"] == len(expected.encode())
    if expected:
        assert (tmp_path / "out").read_text() == expected


def test_a_command_has_three_descriptors_and_no_more(tmp_path: Path) -> None:
    inherited, other_end = os.pipe()
    supervision = Supervision(tmp_path, pass_fds=[inherited])
    try:
        scheduler = supervision.accept()
        for stdin in (None, "text"):
            scheduler.run("a", make_spec(tmp_path, sh("ls /proc/$$/fd"), stdin=stdin))
            assert (tmp_path / "out").read_text().split() == ["0", "1", "2"]
            scheduler.send(("forget", ["a"]))
    finally:
        supervision.close()
        os.close(inherited)
        os.close(other_end)


def test_a_supervisor_without_standard_descriptors_works_all_the_same(tmp_path: Path) -> None:
    prefix = sh('exec "$@" <&- >&- 2>&-')
    supervision = Supervision(tmp_path, prefix=[*prefix, "sh"])
    try:
        scheduler = supervision.accept()
        scheduler.run("a", make_spec(tmp_path, sh("ls /proc/$$/fd; echo error >&2")))
        assert (tmp_path / "out").read_text().split() == ["0", "1", "2", "error"]
        assert scheduler.run("b", make_spec(tmp_path, ["cat"], output="inherit"))["status"] == 0
    finally:
        supervision.close()


def test_a_command_leads_a_session_of_its_own(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", make_spec(tmp_path, ["sleep", "60"]))
    pid = scheduler.wait_for("started", "a")[2]
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)


def test_the_scheduler_is_in_a_process_group_of_its_own(
    supervision: Supervision, scheduler: SchedulerEnd
) -> None:
    assert os.getpgid(scheduler.pid) == scheduler.pid
    assert os.getpgid(supervision.pid) != scheduler.pid


def test_a_command_finds_all_signals_as_they_are_after_login(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", make_spec(tmp_path, ["sleep", "60"]))
    status = status_of(scheduler.wait_for("started", "a")[2])
    # Signals 32 and 33 are the C library's own, and its posix_spawn ignores them.
    assert int(status["SigIgn"], 16) & ~(1 << 31 | 1 << 32) == 0
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigCgt"], 16) == 0


def test_a_start_is_told_with_its_time(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    before = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    end = scheduler.run("a", make_spec(tmp_path, ["true"]))
    after = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    _, _, pid, wall_ns, elapsed_ns = scheduler.wait_for("started", "a")
    assert pid > 0
    assert before[0] <= wall_ns <= end["wall_ns"] <= after[0]
    assert before[1] <= elapsed_ns <= end["elapsed_ns"] <= after[1]


def test_what_a_command_used_is_told(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3"
    end = scheduler.run("a", make_spec(tmp_path, sh(busy)))
    assert os.waitstatus_to_exitcode(end["status"]) == 3
    assert 0 < end["cpu_s"] < 60
    # At least a megabyte, and not the size of the test process.
    assert 1 << 20 < end["peak_rss_bytes"] < 64 << 20


def test_inherited_output_goes_where_the_supervisors_goes(tmp_path: Path) -> None:
    with (tmp_path / "stdout").open("wb") as stdout:
        supervision = Supervision(tmp_path, stdout=stdout)
    try:
        spec = make_spec(tmp_path, sh("echo out; echo err >&2"), output="inherit")
        end = supervision.accept().run("a", spec)
        assert end["output_bytes"] == 0
        assert (tmp_path / "stdout").read_text() == "out\n"
        assert supervision.stderr() == "err\n"
        assert not (tmp_path / "out").exists()
    finally:
        supervision.close()


def test_discarded_output_is_gone(supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path) -> None:
    end = scheduler.run("a", make_spec(tmp_path, sh("echo out; echo err >&2"), output="discard"))
    assert (end["status"], end["output_bytes"]) == (0, 0)
    assert supervision.stderr() == ""
    assert not (tmp_path / "out").exists()


# --- leaving out the shell ---


def test_where_the_direct_start_works_the_shell_is_left_out(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    assert output(scheduler, tmp_path, ["echo", "direct"], shell=sh("echo through the shell")) == "direct\n"


@pytest.mark.parametrize(
    "name", ["no-such-program", "./not-executable", "./no-format", "./no-interpreter", "/"]
)
def test_where_it_does_not_work_the_shell_says_so(scheduler: SchedulerEnd, tmp_path: Path, name: str) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "no-format").write_text("echo run as a script\nexit 5\n")
    (tmp_path / "no-interpreter").write_text("#!/no/such/interpreter\n")
    for made in ("no-format", "no-interpreter"):
        (tmp_path / made).chmod(0o755)
    cwd = str(tmp_path)
    tried = scheduler.run("a", make_spec(tmp_path, [name, "x"], shell=sh(f"{name} x"), cwd=cwd))
    printed = (tmp_path / "out").read_bytes()
    through_shell = scheduler.run("b", make_spec(tmp_path, sh(f"{name} x"), cwd=cwd))
    assert tried["status"] == through_shell["status"] != 0
    assert printed == (tmp_path / "out").read_bytes() != b""


def test_a_directory_that_is_not_there_is_no_case_for_the_shell(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    spec = make_spec(tmp_path, ["true"], shell=sh("true"), cwd="/no/such")
    assert scheduler.fail("a", spec) == (errno.ENOENT, "no such directory: /no/such (cwd)", False)


# --- failures ---


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    """A directory of things that cannot be run."""
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    (tmp_path / "empty").touch()
    (tmp_path / "lost").write_text("#!/no/such/interpreter\n")
    (tmp_path / "lost").chmod(0o755)
    (tmp_path / "empty").chmod(0o755)
    (tmp_path / "dir").mkdir()
    return tmp_path


FAILURES = {
    "not found": (["no-such-program"], {}, errno.ENOENT, "not found: no-such-program"),
    "not found by path": (["./nothing"], {}, errno.ENOENT, "not found: ./nothing"),
    "no word": ([], {}, errno.ENOENT, "not found: the command is empty"),
    "empty word": ([""], {}, errno.ENOENT, "not found: the command is empty"),
    "not executable": (["./plain"], {}, errno.EACCES, "not executable: ./plain"),
    "not executable in the search path": (
        ["plain"],
        {"env": {"PATH": "."}},
        errno.EACCES,
        "not executable: ./plain",
    ),
    "a directory": (["./dir"], {}, errno.EACCES, "not executable: ./dir is a directory"),
    "no format": (
        ["./empty"],
        {},
        errno.ENOEXEC,
        "not executable: ./empty is in no format that the system knows, or has no #! line",
    ),
    "no interpreter": (["./lost"], {}, errno.ENOENT, "not found: the interpreter of ./lost"),
    "below a file": (["./plain/x"], {}, errno.ENOTDIR, "cannot be started: ./plain/x: Not a directory"),
    "no such directory": (["true"], {"cwd": "/no/such"}, errno.ENOENT, "no such directory: /no/such (cwd)"),
    "not a directory": (
        ["true"],
        {"cwd": "/etc/passwd"},
        errno.ENOTDIR,
        "not a directory: /etc/passwd (cwd)",
    ),
}


@pytest.mark.parametrize(("argv", "changes", "number", "message"), FAILURES.values(), ids=FAILURES)
def test_a_command_that_cannot_be_started_fails_in_words(
    scheduler: SchedulerEnd,
    odd_files: Path,
    argv: list[str],
    changes: dict[str, Any],
    number: int,
    message: str,
) -> None:
    spec = make_spec(odd_files, argv, **{"cwd": str(odd_files)} | changes)
    assert scheduler.fail("a", spec) == (number, message, False)
    assert is_alive(scheduler.pid)
    assert scheduler.run("b", make_spec(odd_files, ["true"]))["status"] == 0


@pytest.fixture
def weak_scheduler(tmp_path: Path) -> Iterator[SchedulerEnd]:
    """A scheduler whose supervisor may not do what only root may, even if the tests are run by root."""
    without = "-sys_nice,-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={without}"] if os.getuid() == 0 else []
    supervision = Supervision(tmp_path, prefix=prefix)
    yield supervision.accept()
    supervision.close()


def test_a_niceness_that_is_not_allowed_is_refused(weak_scheduler: SchedulerEnd, tmp_path: Path) -> None:
    number, message, is_transient = weak_scheduler.fail("a", make_spec(tmp_path, ["true"], nice=-5))
    assert number in (errno.EACCES, errno.EPERM)
    assert (message, is_transient) == ("permission denied: nice -5", False)
    assert weak_scheduler.run("b", make_spec(tmp_path, ["true"], nice=19))["status"] == 0


def test_a_directory_that_is_closed_is_refused(weak_scheduler: SchedulerEnd, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    spec = make_spec(tmp_path, ["true"], cwd=str(closed))
    assert weak_scheduler.fail("a", spec) == (errno.EACCES, f"permission denied: {closed} (cwd)", False)
    spec = make_spec(tmp_path, [f"{closed}/tool"])
    assert weak_scheduler.fail("b", spec) == (errno.EACCES, f"permission denied: {closed}/tool", False)


def test_a_way_home_that_is_closed_costs_no_command_its_parent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    without = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={without}"] if os.getuid() == 0 else []
    supervision = Supervision(tmp_path, prefix=prefix, cwd=home)
    try:
        scheduler = supervision.accept()
        home.chmod(0o000)
        assert scheduler.run("a", make_spec(tmp_path, ["true"], cwd="/"))["status"] == 0
        assert scheduler.run("b", make_spec(tmp_path, ["/bin/pwd"], cwd=str(tmp_path)))["status"] == 0
        words = "permission denied: the directory that taskman was started in"
        for cwd in (None, "relative"):
            wish = make_spec(tmp_path, ["true"], cwd=cwd)
            assert scheduler.fail(f"lost {cwd}", wish) == (errno.EACCES, words, False)
        home.chmod(0o700)
        scheduler.run("c", make_spec(tmp_path, ["/bin/pwd"]))
        assert (tmp_path / "out").read_text() == f"{home}\n"
    finally:
        home.chmod(0o700)
        supervision.close()


MALFORMED: dict[str, Any] = {
    "no spec": None,
    "an empty spec": {},
    "a list": ["true"],
    "no words but a text": {"argv": 3},
    "a word with a null byte": {"argv": ["true", "a\0b"]},
    "an environment with a null byte": {"env": {"A": "a\0b"}},
    "an environment with a wrong name": {"env": {"A=B": "c"}},
    "an environment of numbers": {"env": {"A": 1}},
    "a directory with a null byte": {"cwd": "a\0b"},
    "a text for the umask": {"umask": "022"},
    "a text for the niceness": {"nice": "5"},
    "a number for the input": {"stdin": 5},
    "a number for the path": {"path": 5},
    "a text for the bound": {"max_output": "x"},
    "an unknown output": {"output": "print"},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_wish_fails_and_harms_nobody(
    scheduler: SchedulerEnd, tmp_path: Path, changes: Any
) -> None:
    spec = make_spec(tmp_path, ["true"]) | changes if isinstance(changes, dict) and changes else changes
    _, message, is_transient = scheduler.fail("a", spec)
    assert message.startswith("cannot be started: ")
    assert not is_transient
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0


def test_the_same_key_twice_is_refused_and_the_first_one_goes_on(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    scheduler.start("a", make_spec(tmp_path, ["sleep", "60"]))
    pid = scheduler.wait_for("started", "a")[2]
    assert scheduler.fail("a", make_spec(tmp_path, ["true"]))[2] is False
    scheduler.signal("a", signal.SIGKILL)
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGKILL
    assert scheduler.find("started", pid) is None


@pytest.mark.parametrize("free", [0, 1, 2])
def test_want_of_descriptors_passes_and_is_said_to(
    supervision: Supervision, scheduler: SchedulerEnd, tmp_path: Path, free: int
) -> None:
    used = {*descriptors(supervision.pid)}
    old = resource.prlimit(supervision.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervision.pid, resource.RLIMIT_NOFILE, (max(used) + 1 + free, old[1]))
    number, message, is_transient = scheduler.fail("a", make_spec(tmp_path, ["true"]))
    assert (number, is_transient) == (errno.EMFILE, True)
    assert message == "cannot be started: Too many open files"
    resource.prlimit(supervision.pid, resource.RLIMIT_NOFILE, old)
    # Not kept, and no descriptor lost: the same key starts now.
    assert scheduler.run("a", make_spec(tmp_path, ["true"]))["status"] == 0
    assert {*descriptors(supervision.pid)} == used


@pytest.mark.parametrize(
    ("script", "ending", "expected"),
    [
        pytest.param("kill -KILL $$", "", "cgroup", id="killed"),
        pytest.param("kill -KILL $$", "cancelled", None, id="killed as it was told to end"),
        pytest.param("kill -TERM $$", "", None, id="another signal"),
        pytest.param("exit 9", "", None, id="exit code 9"),
        pytest.param("exit 137", "", None, id="the exit code of a shell for it"),
        pytest.param("exit 0", "", None, id="success"),
    ],
)
def test_only_a_command_that_was_killed_is_said_to_be_killed_for_want_of_memory(
    tmp_path: Path, script: str, ending: str, expected: str | None
) -> None:
    """Another one that the kernel has killed meanwhile would make the counter rise, too."""
    with select.epoll() as epoll:
        attempts = Children(epoll, lambda *_: None)
        counter = SimpleNamespace(note_start=lambda _: None, claim=lambda: "cgroup")
        attempts._out_of_memory = counter  # type: ignore[assignment]
        attempts.start(
            "a", spec=make_spec(tmp_path, sh(f"read line; {script}"), stdin="\n", output="discard")
        )
        [(_, _, pid, *_)] = attempts.as_tuples()
        attempts.signal("a", 0, ending)
        attempts.reaped(*os.wait4(pid, 0))
        [(kind, _, end)] = attempts.take_ends()
    assert (kind, end.get("memory")) == ("ended", expected)
