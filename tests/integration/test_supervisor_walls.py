"""What another user does to his own commands, and to files that root uses, is his trouble alone."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.attacks import LEASER, STOPPER, attacking
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, sh
from process_table import descriptors, is_alive, status_of
from wait import wait_until

from taskman_cli.supervisor.trusted import TrustedPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from people import Person

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")

SECOND_NS = 1_000_000_000


@pytest.fixture
def attack(mallory: Person) -> Iterator[Callable[..., None]]:
    """Run an attack as mallory until the test is over; it has begun when this returns."""
    with ExitStack() as attacks:
        yield lambda *arguments: attacks.enter_context(attacking(mallory, *arguments))


def leased_program(path: Path, attack: Callable[..., None], mallory: Person) -> str:
    """Make a program whose owner lets nobody run it."""
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    mallory.owns(path)
    attack(LEASER, str(path))
    return str(path)


def test_a_user_who_stops_his_commands_before_they_begin_delays_nobody_else(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], mallory: Person, alice: Person
) -> None:
    attack(STOPPER)
    for number in range(20):
        spec = make_spec(public_path, ["true"], user=mallory.spec, path=str(public_path / f"m{number}"))
        scheduler.start(f"mallory-{number}", spec)
        assert scheduler.run(f"root-{number}", make_spec(public_path, ["true"]))["status"] == 0
        assert (
            scheduler.run(f"alice-{number}", make_spec(public_path, ["true"], user=alice.spec))["status"] == 0
        )
    # Those that he stopped are told of as started, so that their time runs, and die of KILL.
    for number in range(20):
        scheduler.wait_for("started", f"mallory-{number}")
        scheduler.signal(f"mallory-{number}", signal.SIGKILL, "timed_out")
        scheduler.wait_for("ended", f"mallory-{number}")


@pytest.mark.parametrize("is_his", [False, True], ids=["root's job", "his own job"])
def test_a_program_whose_owner_holds_a_lease_on_it_delays_its_own_start_only(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], is_his: bool, mallory: Person
) -> None:
    program = leased_program(public_path / "tool", attack, mallory)
    user = mallory.spec if is_his else None
    scheduler.start("late", make_spec(public_path, [program], user=user, path=str(public_path / "late")))
    assert scheduler.run("root", make_spec(public_path, ["true"]))["status"] == 0
    _, _, pid, _, _ = scheduler.wait_for("started", "late")
    assert status_of(pid)["Name"] != "tool"
    scheduler.signal("late", signal.SIGTERM, "timed_out")
    assert os.WTERMSIG(scheduler.wait_for("ended", "late")[2]["status"]) == signal.SIGTERM


def test_neither_the_directory_of_a_program_nor_its_interpreter_is_waited_for(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], mallory: Person
) -> None:
    interpreter = leased_program(public_path / "interpreter", attack, mallory)
    script = public_path / "script"
    script.write_text(f"#!{interpreter}\n")
    script.chmod(0o755)
    scheduler.start("a", make_spec(public_path, [str(script)]))
    scheduler.start("b", make_spec(public_path, ["interpreter"], env={"PATH": f"{public_path}:/bin"}))
    # It is not waited for as long as the lease is held: 45 s (lease-break-time in proc(5)).
    assert scheduler.run("root", make_spec(public_path, ["true"]))["status"] == 0
    for key in ("a", "b"):
        scheduler.wait_for("started", key)
        scheduler.signal(key, signal.SIGKILL)
        scheduler.wait_for("ended", key)


def test_the_limit_of_a_user_s_processes_is_said_to_be_his(
    supervise: Callable[..., Supervision], public_path: Path, mallory: Person
) -> None:
    limited = supervise(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (3, 3)))
    scheduler = limited.accept()
    for number in range(6):
        spec = make_spec(public_path, ["sleep", "60"], user=mallory.spec, output="discard")
        scheduler.start(f"m{number}", spec)
    message = wait_until(lambda: scheduler.find("failed"), what="a start beyond the limit")
    _, _, number, words, is_transient, _, _, is_users = message
    assert (number, is_transient, is_users) == (errno.EAGAIN, True, True)
    assert words.endswith("Resource temporarily unavailable")
    assert scheduler.run("root", make_spec(public_path, ["true"]))["status"] == 0


def test_a_process_that_waits_to_become_its_command_holds_nothing_of_ours(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], mallory: Person
) -> None:
    program = leased_program(public_path / "tool", attack, mallory)
    scheduler.start("late", make_spec(public_path, [program], user=mallory.spec))
    _, _, pid, _, _ = scheduler.wait_for("started", "late")
    held = sorted(place.partition(":")[0] for place in descriptors(pid).values())
    assert held == ["/dev/null", "pipe", "pipe", "pipe"]


def test_a_late_start_that_fails_is_a_failed_start(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], mallory: Person
) -> None:
    directory = public_path / "his"
    directory.mkdir()
    mallory.owns(directory)
    scheduler.start("a", make_spec(public_path, ["true"], cwd=str(directory / "missing")))
    _, _, number, words, is_transient, *_ = scheduler.wait_for("failed", "a")
    assert (number, is_transient) == (errno.ENOENT, False)
    assert words == f"no such directory: {directory}/missing (cwd)"
    assert scheduler.find("started", "a") is None
    assert scheduler.run("b", make_spec(public_path, ["pwd"], cwd=str(directory)))["status"] == 0
    assert (public_path / "out").read_text() == f"{directory}\n"


def test_the_next_scheduler_is_told_of_a_process_that_still_waits(
    supervision: Supervision,
    scheduler: SchedulerEnd,
    public_path: Path,
    attack: Callable[..., None],
    mallory: Person,
) -> None:
    program = leased_program(public_path / "tool", attack, mallory)
    scheduler.start("late", make_spec(public_path, [program], user=mallory.spec))
    _, _, pid, _, _ = scheduler.wait_for("started", "late")
    scheduler.kill()
    after = supervision.accept()
    [(key, _, told_pid, _, _, end, *_)] = after.hello["attempts"]
    assert (key, told_pid, end) == ("late", pid, None)
    supervision.signal(signal.SIGKILL)
    supervision.wait()
    wait_until(lambda: is_alive(pid), what="the process outlives its supervisor")
    os.kill(pid, signal.SIGKILL)


def test_an_env_file_is_read_with_the_rights_of_the_user_and_waits_for_nobody_else(
    scheduler: SchedulerEnd, public_path: Path, attack: Callable[..., None], mallory: Person
) -> None:
    secret = public_path / "secret"
    secret.write_text("SECRET=root's")
    secret.chmod(0o600)
    (public_path / "his").symlink_to(secret)
    files = {"env_over": {"B": "job"}, "user": mallory.spec}
    spec = make_spec(public_path, sh("echo $SECRET"), env_files=[str(public_path / "his")], **files)
    assert scheduler.fail("a", spec)[1] == f"cannot read env_file {public_path}/his: Permission denied"
    own = public_path / "own"
    own.write_bytes(b"A=caf\xe9\nB=file\nC=x\n")
    mallory.owns(own)
    own.chmod(0o600)
    spec = make_spec(public_path, sh("echo $A $B $C"), env_files=[str(own)], **files)
    assert scheduler.run("b", spec)["status"] == 0
    assert (public_path / "out").read_bytes() == b"caf\xe9 job x\n"
    os.mkfifo(public_path / "pipe")
    spec = make_spec(public_path, ["true"], env_files=[str(public_path / "pipe")], **files)
    assert scheduler.fail("c", spec)[1] == f"cannot read env_file {public_path}/pipe: not a regular file"
    leased = leased_program(public_path / "leased", attack, mallory)
    spec = make_spec(public_path, ["true"], env_files=[leased], **files)
    assert scheduler.fail("d", spec)[1:] == (
        f"cannot read env_file {leased}: Resource temporarily unavailable",
        False,
    )


def test_a_command_of_another_user_never_has_our_terminal(
    supervise: Callable[..., Supervision], public_path: Path, mallory: Person
) -> None:
    ours, theirs = os.openpty()
    scheduler = supervise(stdout=theirs, stderr=theirs).accept()
    os.close(theirs)
    script = "printf 'hello\\033[2J\\n'; for fd in 0 1 2; do [ -t $fd ] && echo has a terminal; done; true"
    end = scheduler.run("a", make_spec(public_path, sh(script), user=mallory.spec, output="inherit"))
    assert (end["status"], end["output_bytes"]) == (0, 0)
    assert os.read(ours, 1000) == b"hello\\x1b[2J\r\n"
    # Our own commands may have it.
    scheduler.run("b", make_spec(public_path, sh("test -t 1 && echo yes"), output="inherit"))
    assert os.read(ours, 1000) == b"yes\r\n"
    os.close(ours)


# --- which paths are trusted ---


def test_what_is_root_s_all_the_way_is_trusted(public_path: Path) -> None:
    trusted = TrustedPaths("/")
    (public_path / "mine").mkdir()
    (public_path / "link").symlink_to("mine/../mine")
    assert [
        trusted.is_trusted(path)
        for path in (
            "/bin/sh", "bin/sh", "/nowhere/at/all", f"{public_path}/mine", f"{public_path}/link/nothing",
            f"{public_path}/./mine/..//mine", "/bin/sh\0",
        )
    ] == [True] * 7  # fmt: skip


def test_what_somebody_else_owns_or_can_write_to_is_not_trusted(public_path: Path, mallory: Person) -> None:
    trusted = TrustedPaths("/")
    for name, owner, mode in (("his", mallory.uid, 0o755), ("open", 0, 0o777), ("group", 0, 0o775)):
        (public_path / name).mkdir()
        (public_path / name / "mine").mkdir()
        (public_path / name).chmod(mode)
        os.chown(public_path / name, owner, mallory.gid)
        (public_path / f"{name}-link").symlink_to(f"{name}/mine")
        assert not trusted.is_trusted(f"{public_path}/{name}")
        assert not trusted.is_trusted(f"{public_path}/{name}/mine")
        assert not trusted.is_trusted(f"{public_path}/{name}-link")
    (public_path / "his-link").unlink()
    (public_path / "his-link").symlink_to("/bin/sh")
    mallory.owns(public_path / "his-link")
    assert not trusted.is_trusted(f"{public_path}/his-link")
    (public_path / "loop").symlink_to("loop")
    assert trusted.is_trusted(f"{public_path}/loop")  # ELOOP comes at once


def test_a_file_system_that_is_not_of_this_machine_is_not_trusted() -> None:
    """A FUSE mount, in a mount namespace of its own, whose server never answers."""
    script = (
        "import os; from taskman_cli.supervisor.trusted import TrustedPaths\n"
        "trusted = TrustedPaths('/')\n"
        "spec = dict(argv=['/mnt/tool'], shell=None, cwd=None)\n"
        "print(trusted.is_start_prompt(spec, '', now_ns=0))\n"
        "os.system('mount -t tmpfs none /mnt')\n"
        "print(trusted.is_start_prompt(spec, '', now_ns=10**7))\n"
        "fd = os.open('/dev/fuse', os.O_RDWR); os.set_inheritable(fd, True)\n"
        "os.system(f'mount -i -t fuse -o fd={fd},rootmode=40000,user_id=0,group_id=0 none /mnt')\n"
        "print(trusted.is_start_prompt(spec, '', now_ns=2 * 10**7))\n"
    )
    result = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.stdout.split(), result.stderr) == (["True", "True", "False"], "")
