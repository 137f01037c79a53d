"""Commands that the real supervisor starts as another user; only root can."""

from __future__ import annotations

import errno
import os
import pwd
import select
import signal
from typing import TYPE_CHECKING, Any

import pytest
from integration.supervisor_driver import SchedulerEnd, Supervision, make_spec, sh
from process_table import status_of

from taskman_cli.supervisor.children import Children

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start commands as another user")

GAMES = pwd.getpwnam("games")
#: To become it, with a group that it is not in by itself.
AS_GAMES = (GAMES.pw_uid, GAMES.pw_gid, [GAMES.pw_gid, 33])


def output(scheduler: SchedulerEnd, directory: Path, argv: list[str], **changes: Any) -> str:
    """Run a command as games; return what it printed."""
    end = scheduler.run("a", make_spec(directory, argv, user=AS_GAMES, **changes))
    assert end["status"] == 0
    return (directory / "out").read_text()


def test_nothing_of_ours_is_left_in_the_command(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    printed = output(scheduler, tmp_path, ["cat", "/proc/self/status"])
    status = {name: value.split() for name, _, value in (line.partition(":") for line in printed.split("\n"))}
    assert [str(GAMES.pw_uid)] * 4 == status["Uid"]
    assert [str(GAMES.pw_gid)] * 4 == status["Gid"]
    assert set(status["Groups"]) == {"33", str(GAMES.pw_gid)}
    assert [status[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0000000000000000"] * 4
    assert status["SigBlk"][0] == "0000000000000000"
    # 32 and 33 are glibc's own, which its posix_spawn ignores in children: in all of make's, too.
    assert int(status["SigIgn"][0], 16) & ~(1 << 31 | 1 << 32) == 0


def test_it_has_all_else_as_every_command_has_it(scheduler: SchedulerEnd, public_path: Path) -> None:
    script = "pwd; umask; nice; cat; ps -o sid= -p $$; echo $$; echo $A; ls /proc/$$/fd"
    changes = {"cwd": str(public_path), "umask": 0o27, "nice": -3, "stdin": "in\n", "env": {"A": "1"}}
    printed = output(scheduler, public_path, sh(script), **changes).split()
    assert printed[:4] == [str(public_path), "0027", "-3", "in"]
    assert printed[4] == printed[5]
    assert printed[6:] == ["1", "0", "1", "2"]


def test_its_output_is_ours_and_it_may_open_it_all_the_same(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    assert output(scheduler, tmp_path, sh("echo a >/dev/stdout; echo b >/dev/stderr")) == "a\nb\n"
    assert (tmp_path / "out").stat().st_uid == 0


def test_a_command_that_is_over_at_once_costs_no_turn_of_the_loop_but_for_its_end(tmp_path: Path) -> None:
    with select.epoll() as epoll:
        attempts = Children(epoll, lambda *_: None)
        assert (
            attempts.start("a", spec=make_spec(tmp_path, ["true"], user=AS_GAMES, output="discard")) is None
        )
        [(_, _, pid, *_)] = attempts.as_tuples()
        reaped = os.wait4(pid, 0)
        assert epoll.poll(0) == []
        attempts.reaped(*reaped)
    assert [news[0] for news in attempts.take_news() + attempts.take_ends()] == ["started", "ended"]


def test_the_next_command_is_root_s_and_starts_where_we_were_started(
    scheduler: SchedulerEnd, tmp_path: Path
) -> None:
    assert output(scheduler, tmp_path, ["pwd"], cwd="/usr") == "/usr\n"
    scheduler.run("b", make_spec(tmp_path, sh("id -u; pwd")))
    assert (tmp_path / "out").read_text().split() == ["0", os.getcwd()]  # noqa: PTH109


def test_a_directory_or_program_that_is_not_for_that_user_fails_the_start(
    scheduler: SchedulerEnd, public_path: Path
) -> None:
    (public_path / "private").mkdir(mode=0o700)
    tool = public_path / "private" / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    def failure(key: str, argv: list[str], **changes: Any) -> tuple[int, str, bool]:
        return scheduler.fail(key, make_spec(public_path, argv, user=AS_GAMES, **changes))

    assert failure("a", ["true"], cwd=str(tool.parent)) == (
        errno.EACCES, f"permission denied: {tool.parent} (cwd)", False,
    )  # fmt: skip
    assert failure("b", [str(tool)]) == (errno.EACCES, f"permission denied: {tool}", False)
    assert failure("c", ["tool"], env={"PATH": str(tool.parent)}) == (errno.ENOENT, "not found: tool", False)
    assert failure("d", ["nope"]) == (errno.ENOENT, "not found: nope", False)
    assert (
        scheduler.run("e", make_spec(public_path, ["nope"], user=AS_GAMES, shell=sh("exit 3")))["status"]
        == 768
    )


def test_a_malformed_user_is_its_attempt_s_trouble(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    number, words, is_transient = scheduler.fail("a", make_spec(tmp_path, ["true"], user=(5, "games", [])))
    assert (number, is_transient) == (0, False)
    assert "str" in words
    assert scheduler.run("b", make_spec(tmp_path, ["true"]))["status"] == 0


def test_its_group_is_signalled_like_any_other(scheduler: SchedulerEnd, tmp_path: Path) -> None:
    scheduler.start("a", make_spec(tmp_path, sh("sleep 60; exit 0"), user=AS_GAMES))
    pid = scheduler.wait_for("started", "a")[2]
    assert status_of(pid)["Uid"].split() == [str(GAMES.pw_uid)] * 4
    scheduler.signal("a", signal.SIGTERM)
    assert scheduler.wait_for("ended", "a")[2]["status"] == signal.SIGTERM


def test_a_supervisor_without_the_right_says_so(tmp_path: Path) -> None:
    supervision = Supervision(tmp_path, prefix=["setpriv", "--bounding-set=-setgid,-setuid"])
    try:
        failure = supervision.accept().fail("a", make_spec(tmp_path, ["true"], user=AS_GAMES))
        words = f"permission denied: to become user {GAMES.pw_uid} with group {GAMES.pw_gid}"
        assert failure == (errno.EPERM, words, False)
    finally:
        supervision.close()
