"""Files that commands redirect to: whoever owns them, opening one delays its own command and no other."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest
from integration.attacks import LEASER, attacking
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, sh
from people import let_write
from process_table import is_alive
from wait import wait_until

from taskman_cli.supervisor.direct import file_actions
from taskman_cli.supervisor.trusted import TrustedPaths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from people import Person

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")


def direct_spec(
    directory: Path, argv: list[str], *files: tuple[int, str, str], **changes: Any
) -> dict[str, Any]:
    """Return a spec that runs `argv` with redirections, or else a shell that says so."""
    form = {"argv": argv, "env": {"B": "2"}, "cd": None, "files": list(files)}
    form |= {name: changes.pop(name) for name in ("cd",) if name in changes}
    spec = make_spec(directory, sh("echo the shell"), cwd=str(directory), direct=form)
    return spec | changes


def test_redirections_are_made_in_their_order_and_the_next_command_finds_all_as_before(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    files = (1, ">", "log"), (2, "&", "1"), (0, "<", "/dev/null")
    spec = direct_spec(tmp_path, ["sh", "-c", "pwd; echo $B >&2"], *files, cd=str(tmp_path / "sub"))
    assert scheduler.run("a", spec | {"umask": 0o77})["status"] == 0
    assert (tmp_path / "sub" / "log").read_text() == f"{tmp_path}/sub\n2\n"
    assert (tmp_path / "sub" / "log").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "out").exists()
    assert scheduler.run("b", direct_spec(tmp_path, ["pwd"], (2, ">", "log")))["status"] == 0
    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644
    assert scheduler.run("c", make_spec(tmp_path, ["pwd"]))["status"] == 0
    assert (tmp_path / "out").read_text() == f"{os.getcwd()}\n"  # noqa: PTH109


@pytest.mark.parametrize("is_nice", [False, True])
def test_where_a_directory_a_file_or_the_program_is_missing_the_shell_runs_it(
    scheduler: SchedulerEnd, tmp_path: Path, is_nice: bool
) -> None:
    changes = {"nice": 1} if is_nice else {}
    for number, spec in enumerate(
        (
            direct_spec(tmp_path, ["true"], cd=str(tmp_path / "missing")),
            direct_spec(tmp_path, ["true"], (0, "<", "missing")),
            direct_spec(tmp_path, ["true"], (1, ">", "missing/log")),
            direct_spec(tmp_path, ["no-such-program"], (1, ">", "log")),
            direct_spec(tmp_path, ["true"], cd="/") | {"argv": sh("echo the shell; pwd"), "cwd": "/usr"}
            | {"direct": {"argv": ["no-such-program"], "env": {}, "cd": "/", "files": []}},
        )
    ):  # fmt: skip
        scheduler.run(str(number), spec | changes | {"path": str(tmp_path / f"out{number}")})
        assert (tmp_path / f"out{number}").read_text() == "the shell\n" + ("/usr\n" if number == 4 else "")


def test_a_malformed_direct_form_fails_and_harms_nobody(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    good = direct_spec(tmp_path, ["true"])
    for number, form in enumerate(
        (7, {}, good["direct"] | {"argv": []}, good["direct"] | {"files": [1]}, good["direct"] | {"env": 3})
    ):
        assert not scheduler.fail(str(number), good | {"direct": form})[2]
    bad = good["direct"] | {"files": [(1, "?", "x")]}
    assert not scheduler.fail("operator", good | {"direct": bad})[2]
    assert scheduler.run("after", good)["status"] == 0


def test_a_pipe_is_waited_for_by_its_own_command_only(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    spec = direct_spec(tmp_path, ["echo", "hello"], (1, ">", "pipe")) | {"argv": sh("echo hello >pipe")}
    scheduler.start("waits", spec)
    assert scheduler.run("other", make_spec(tmp_path, ["true"]))["status"] == 0
    pid = scheduler.wait_for("started", "waits")[2]
    assert is_alive(pid)
    with (tmp_path / "pipe").open() as pipe:
        assert pipe.read() == "hello\n"
    assert scheduler.wait_for("ended", "waits")[2]["status"] == 0


def test_a_pipe_is_opened_once_although_the_shell_has_to_run_the_script(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    """Its reader would see the end of the first opening, and leave before the script has begun."""
    os.mkfifo(tmp_path / "pipe")
    script = tmp_path / "script"
    script.write_text("echo hello")  # without #!
    script.chmod(0o755)
    spec = direct_spec(tmp_path, ["./script"], (1, ">", "pipe")) | {"argv": sh("./script >pipe")}
    scheduler.start("writes", spec)
    with (tmp_path / "pipe").open() as pipe:
        assert pipe.read() == "hello\n"
    assert scheduler.wait_for("ended", "writes")[2]["status"] == 0


#: How a start is made: a spawn, or a fork.
WAYS = pytest.mark.parametrize("way", [{}, {"limits": {"core_size": 0}}], ids=["spawn", "fork"])


@WAYS
def test_a_directory_is_entered_from_the_one_that_taskman_is_in_whatever_that_is_called_now(
    supervise: Callable[..., Supervision], tmp_path: Path, way: dict[str, Any]
) -> None:
    """A release was moved away, and another one is there: the shell would stay in the old one."""
    (tmp_path / "app" / "sub").mkdir(parents=True)
    scheduler = supervise(cwd=tmp_path / "app").accept()
    (tmp_path / "app").rename(tmp_path / "old")
    (tmp_path / "app" / "sub").mkdir(parents=True)
    spec = direct_spec(tmp_path, ["true"], (1, ">", "log"), cd="sub") | {"cwd": None} | way
    assert scheduler.run("a", spec)["status"] == 0
    assert (tmp_path / "old" / "sub" / "log").exists()
    assert list((tmp_path / "app" / "sub").iterdir()) == []


@WAYS
def test_a_relative_directory_is_below_the_jobs_own(
    scheduler: SchedulerEnd, tmp_path: Path, way: dict[str, Any]
) -> None:
    (tmp_path / "sub").mkdir()
    assert scheduler.run("a", direct_spec(tmp_path, ["pwd"], (1, ">", "log"), cd="sub") | way)["status"] == 0
    assert (tmp_path / "sub" / "log").read_text() == f"{tmp_path}/sub\n"


@as_root
@pytest.mark.parametrize("operator", ["<", ">", ">>"])
def test_a_file_whose_owner_holds_a_lease_on_it_delays_its_own_command_only(
    scheduler: SchedulerEnd, public_path: Path, mallory: Person, operator: str
) -> None:
    leased = public_path / "root's" / "leased"  # in a sticky directory, the kernel refuses it at once
    leased.parent.mkdir(mode=0o755)
    leased.write_text("")
    mallory.owns(leased)
    with attacking(mallory, LEASER, str(leased)):
        spec = direct_spec(public_path, ["true"], (int(operator != "<"), operator, str(leased)))
        scheduler.start("late", spec)
        other = make_spec(public_path, ["true"], path=str(public_path / "other"))
        assert scheduler.run("other", other)["status"] == 0
        assert scheduler.find("ended", "late") is None
        scheduler.signal("late", 9)
        scheduler.wait_for("ended", "late")


@as_root
def test_a_user_with_too_many_processes_keeps_what_is_in_the_file(
    supervise: Callable[..., Supervision], public_path: Path, mallory: Person
) -> None:
    limited = supervise(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (3, 3)))
    scheduler = limited.accept()
    kept = public_path / "kept"
    kept.write_text("precious")
    mallory.owns(kept)
    for number in range(6):
        spec = make_spec(public_path, ["sleep", "60"], user=mallory.spec, output="discard")
        scheduler.start(f"m{number}", spec)
    wait_until(lambda: scheduler.find("failed"), what="a start beyond the limit")
    spec = direct_spec(public_path, ["echo", "new"], (1, ">", "kept"), user=mallory.spec)
    assert scheduler.fail("a", spec)[::2] == (errno.EAGAIN, True)
    assert kept.read_text() == "precious"


# --- which files a spawn may open ---


def test_a_regular_file_of_ours_or_none_where_only_we_can_make_one_is_opened_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 100)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("new")
    trusted = TrustedPaths(str(tmp_path))
    for name in ("file", "link", "dangling", "new", "./file", f"../{tmp_path.name}/file"):
        for directory in (str(tmp_path), None):
            assert trusted.is_file_prompt(directory, name, most_bytes=None), name
    assert trusted.is_file_prompt("/", f"{tmp_path}/file", most_bytes=100)
    assert not trusted.is_file_prompt("/", f"{tmp_path}/file", most_bytes=99)


def test_what_is_no_regular_file_or_means_something_else_to_each_process_is_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "output").symlink_to("/dev/stdout")
    (tmp_path / "memory").symlink_to("/proc/self/environ")
    trusted = TrustedPaths("/")
    for name in (
        "missing/new",
        "pipe",
        "directory",
        ".",
        "..",
        "output",
        "memory",
        "/dev/tty",
        "/proc/self/fd/1",
        "/proc/1/comm",
    ):
        assert not trusted.is_file_prompt(str(tmp_path), name, most_bytes=None), name


def test_what_others_may_put_there_is_not(public_path: Path) -> None:
    (public_path / "ours").write_text("")
    (public_path / "link").symlink_to("new")
    trusted = TrustedPaths("/")
    assert trusted.is_file_prompt(str(public_path), "ours", most_bytes=None)
    for name in ("new", "link", "new/file"):
        assert not trusted.is_file_prompt(str(public_path), name, most_bytes=None), name


@as_root
def test_what_others_own_is_not(public_path: Path, mallory: Person) -> None:
    for name in ("file", "directory", "link"):
        path = public_path / name
        if name == "directory":
            path.mkdir()
        elif name == "link":
            path.symlink_to("/etc/passwd")
        else:
            path.write_text("")
        mallory.owns(path)
    (public_path / "directory" / "mine").write_text("")
    trusted = TrustedPaths(str(public_path / "directory"))
    for name in ("file", "directory/mine", "directory/new", "link"):
        assert not trusted.is_file_prompt(str(public_path), name, most_bytes=None), name
    # Not even in the start directory, although programs are trusted there.
    assert not trusted.is_file_prompt(None, "mine", most_bytes=None)


@as_root
def test_where_others_may_write_by_an_access_control_list_is_not(public_path: Path, mallory: Person) -> None:
    place = public_path / "place"
    place.mkdir(mode=0o755)
    (place / "ours").write_text("")
    trusted = TrustedPaths("/")
    assert trusted.is_file_prompt(str(place), "ours", most_bytes=None)
    let_write(place, mallory)
    trusted = TrustedPaths("/")
    for name in ("ours", "new"):
        assert not trusted.is_file_prompt(str(place), name, most_bytes=None), name
    assert not trusted.is_trusted(str(place / "ours"))


def test_what_appears_in_the_place_of_a_new_file_is_not_opened(tmp_path: Path) -> None:
    held: list[int] = []
    [(_, number, path, flags, mode)] = file_actions([[1, ">", str(tmp_path / "new")]], held)
    assert (number, path, held) == (1, str(tmp_path / "new"), [])
    os.mkfifo(path)  # by somebody who was quicker
    with pytest.raises(FileExistsError):
        os.open(path, flags | os.O_NONBLOCK, mode)


def test_a_file_that_is_there_is_opened_as_it_was_found_and_never_made(tmp_path: Path) -> None:
    held: list[int] = []
    found = tmp_path / "found"
    found.write_text("content")
    [(_, _, path, flags, mode)] = file_actions([[1, ">>", str(found)]], held)
    found.rename(tmp_path / "moved")
    (tmp_path / "found").symlink_to("elsewhere")
    fd = os.open(path, flags, mode)
    os.write(fd, b" and more")
    for one in (fd, *held):
        os.close(one)
    assert (tmp_path / "moved").read_text() == "content and more"
    assert not (tmp_path / "elsewhere").exists()
    assert flags & os.O_CREAT == 0
