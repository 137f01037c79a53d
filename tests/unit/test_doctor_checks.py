"""What `taskman doctor` makes of what it saw."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from taskman_cli.cli.commands.doctor import examine
from taskman_cli.cli.doctor.clock import Zones, judge_clock, judge_zones
from taskman_cli.cli.doctor.duplicates import Others, judge_others
from taskman_cli.cli.doctor.executors import Answer, judge_executors
from taskman_cli.cli.doctor.groups import judge_groups
from taskman_cli.cli.doctor.machine import Limits, judge_limits, judge_mailer, parse_limits
from taskman_cli.cli.doctor.result import CheckResult, Level, fail, ok, warn, worst
from taskman_cli.cli.doctor.scheduler import SchedulerHealth, judge_scheduler
from taskman_cli.cli.doctor.sharing import judge_sharing
from taskman_cli.cli.doctor.storage import (
    Directory,
    LedgerState,
    file_system_of,
    judge_directory,
    judge_ledger,
)
from taskman_cli.cli.doctor.systemd import Services, judge_services
from taskman_cli.errors import NotFound
from taskman_cli.supervisor.groups import Place

GOOD = Directory("/s", "/s", True, 7, 0o700, True, 10**12, "ext4")
ZONES = Zones("", "Europe/Paris", "Europe/Paris", "Europe/Paris", "", "/usr/share/zoneinfo")
UNIT = Services(True, "systemd", ("taskman.service",), ("taskman.service",))


def assert_says(verdict: CheckResult, level: str, words: str, fix: str) -> None:
    assert (Level(level), True) == (verdict.level, words in verdict.words), verdict
    assert fix in verdict.fix
    assert bool(verdict.fix) is (level != "ok")


@pytest.mark.parametrize(
    ("changes", "level", "words", "fix"),
    [
        ({}, "ok", "/s: mode 0700, ext4, 1,000,000 MB free", ""),
        ({"is_there": False, "place": "/", "owner": 0}, "ok", "taskman run creates it", ""),
        (
            {"is_there": False, "place": "/", "is_writable": False},
            "fail",
            "/ cannot be written",
            "--state-dir",
        ),
        ({"is_directory": False}, "fail", "/s is not a directory", "--state-dir"),
        ({"owner": 8}, "fail", "belongs to uid 8, not to uid 7", "STATE_DIRECTORY"),
        ({"is_writable": False}, "fail", "/s cannot be written", "--state-dir"),
        ({"mode": 0o755}, "warn", "accessible to others (mode 0755)", "chmod 700 /s"),
        ({"mode": 0o777}, "fail", "everybody can write", "chmod 700 /s"),
        ({"free_bytes": 50_000_000}, "warn", "50 MB are free", "free some space"),
        ({"free_bytes": 0}, "fail", "0 MB are free", "free some space"),
        ({"file_system": "nfs4"}, "fail", "nfs4", "local disk"),
        ({"file_system": "tmpfs"}, "warn", "lost at a reboot", "--state-dir"),
        (
            {"mode": 0o755, "owner": 8},
            "fail",
            "belongs to uid 8, not to uid 7; /s is accessible",
            "chmod 700 /s",
        ),
    ],
)
def test_the_state_directory(changes: dict[str, object], level: str, words: str, fix: str) -> None:
    assert_says(judge_directory(replace(GOOD, **changes), uid=7), level, words, fix)  # type: ignore[arg-type]


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /var rw - xfs /dev/sdb rw
24 22 0:6 / /var/lib/my\\040disk rw - nfs4 host:/x rw
25 22 0:7 / /var/lib rw shared:2 - btrfs /dev/sdc rw
junk
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/etc", "ext4"),
        ("/var", "xfs"),
        ("/variety", "ext4"),
        ("/var/lib/x", "btrfs"),
        ("/var/lib/my disk/a", "nfs4"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert kind == file_system_of(path, MOUNTS)
    assert file_system_of(path, "") == ""


@pytest.mark.parametrize(
    ("seen", "level", "words", "fix"),
    [
        (LedgerState(version=2, size_bytes=2_500_000), "ok", "version 2, 2.5 MB, sound", ""),
        (LedgerState(version=2, finding=None), "ok", "not checked to its end", ""),
        (LedgerState(is_there=False), "ok", "no ledger yet", ""),
        (LedgerState(trouble="x is damaged"), "fail", "x is damaged", "sets a damaged ledger aside"),
        (
            LedgerState(trouble="Permission denied"),
            "fail",
            "Permission denied",
            "as the user who runs taskman",
        ),
        (
            LedgerState(trouble="x is a database of another program"),
            "fail",
            "x is a data",
            "move it elsewhere",
        ),
        (
            LedgerState(trouble="x was written by a newer taskman"),
            "fail",
            "x was written",
            "use the newer one",
        ),
        (LedgerState(trouble="x was written by an older taskman"), "fail", "x was written", "taskman run"),
        (LedgerState(finding="row 3 missing"), "fail", "row 3 missing", "keep a copy"),
        (LedgerState(log_bytes=300_000_000), "warn", "its log has 300 MB", "readers"),
        (
            LedgerState(unreadable=2, unreadable_why="runs of x: y"),
            "warn",
            "2 rows set aside as unreadable",
            "resume",
        ),
        (
            LedgerState(is_there=False, broken=("ledger.db.broken-1",)),
            "warn",
            "1 damaged ledger was set aside",
            "disk",
        ),
    ],
)
def test_the_ledger(seen: LedgerState, level: str, words: str, fix: str) -> None:
    assert_says(judge_ledger(seen), level, words, fix)


@pytest.mark.parametrize(
    ("seen", "level", "words", "fix"),
    [
        (SchedulerHealth(5, "1.0"), "ok", "process 5 answers", ""),
        (SchedulerHealth(), "warn", "no scheduler runs", "taskman run"),
        (
            SchedulerHealth(5, "1.0", set_aside=("job a (KeyError: 1)", "job b (KeyError: 2)")),
            "warn",
            "set aside what it could not process: job b (KeyError: 2), and 1 more",
            "taskman resume JOB",
        ),
        (SchedulerHealth(5, "0.9"), "warn", "process 5 runs taskman 0.9, but this is 1.0", "taskman restart"),
        (
            SchedulerHealth(5, trouble="no answer"),
            "fail",
            "no answer",
            "taskman restart; if that hangs too: kill 5",
        ),
        (SchedulerHealth(trouble="Not a directory"), "fail", "Not a directory", "name the state directory"),
        (
            SchedulerHealth(trouble="Permission denied"),
            "fail",
            "Permission denied",
            "as the user who runs taskman",
        ),
        (
            SchedulerHealth(5, "1.0", files="jobs.toml:1:1: junk"),
            "fail",
            "the previous jobs; the job files have an error: jobs.toml:1:1: junk",
            "taskman reload",
        ),
        (
            SchedulerHealth(5, "1.0", ledger="disk full"),
            "fail",
            "starts nothing, because it cannot record it: disk full",
            "fix",
        ),
    ],
)
def test_the_scheduler(seen: SchedulerHealth, level: str, words: str, fix: str) -> None:
    assert_says(judge_scheduler(seen, version="1.0"), level, words, fix)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [(True, "ok", "synchronised"), (False, "warn", "not synchronised"), (None, "warn", "does not say")],
)
def test_the_clock(seen: bool | None, level: str, words: str) -> None:
    assert_says(judge_clock(seen), level, words, "" if seen else "chrony")


@pytest.mark.parametrize(
    ("changes", "level", "words", "fix"),
    [
        ({}, "ok", "Europe/Paris, zones from /usr/share/zoneinfo", ""),
        ({"data": ""}, "fail", "no time zone data", "tzdata"),
        ({"fault": "TZ=x is no name", "taken": ""}, "fail", "TZ=x is no name", "Europe/Stockholm"),
        (
            {"timezone": "Etc/UTC"},
            "warn",
            "/etc/timezone says Etc/UTC",
            "timedatectl set-timezone Europe/Paris",
        ),
        (
            {"variable": "Asia/Tokyo", "taken": "Asia/Tokyo"},
            "warn",
            "TZ is Asia/Tokyo here",
            "[taskman] timezone",
        ),
        ({"variable": "Europe/Paris"}, "ok", "Europe/Paris", ""),
        ({"localtime": "", "timezone": ""}, "ok", "Europe/Paris", ""),
    ],
)
def test_the_zone(changes: dict[str, str], level: str, words: str, fix: str) -> None:
    assert_says(judge_zones(replace(ZONES, **changes)), level, words, fix)


@pytest.mark.parametrize(
    ("seen", "level", "words", "fix"),
    [
        (Limits(), "ok", "files unlimited, processes unlimited", ""),
        (Limits(256, 256, 256, 128 << 20), "ok", "files 256", ""),
        (Limits(files=255), "warn", "255 open files (of this shell)", "LimitNOFILE="),
        (Limits(processes=255), "warn", "255 processes", "LimitNPROC="),
        (Limits(cgroup_processes=10), "warn", "10 processes in the control group", "TasksMax="),
        (Limits(cgroup_memory=64 << 20), "warn", "64 MiB of memory", "MemoryMax="),
    ],
)
def test_the_limits(seen: Limits, level: str, words: str, fix: str) -> None:
    assert_says(judge_limits(seen), level, words, fix)


def test_the_limits_of_a_process_as_proc_has_them() -> None:
    text = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max processes             unlimited            unlimited            processes \n"
        "Max open files            1024                 4096                 files     \n"
    )
    assert parse_limits(text) == (1024, None)


def test_when_commands_begin() -> None:
    assert_says(judge_sharing(is_behind=False), "ok", "promptly", "")
    assert_says(judge_sharing(is_behind=True), "ok", "CPUWeight=100", "")


def test_the_mailer() -> None:
    assert_says(judge_mailer("/usr/sbin/sendmail"), "ok", "/usr/sbin/sendmail", "")
    assert_says(judge_mailer(None), "warn", "sinks that mail without a host", "apt install")


@pytest.mark.parametrize(
    ("seen", "level", "words", "fix"),
    [
        (UNIT, "ok", "taskman.service starts taskman", ""),
        (Services(False, "init"), "ok", "process 1 is init", ""),
        (Services(True), "warn", "no unit starts taskman", "taskman unit FILE"),
        (replace(UNIT, silent=("taskman.service",)), "warn", "without Type=notify", "taskman unit FILE"),
        (replace(UNIT, silent=("other.service",)), "ok", "starts taskman", ""),
        (replace(UNIT, enabled=()), "warn", "not enabled", "systemctl enable taskman.service"),
        (replace(UNIT, enabled=(), is_user=True), "warn", "not enabled", "systemctl --user enable"),
        (replace(UNIT, is_user=True), "warn", "only while ann is logged in", "loginctl enable-linger ann"),
        (replace(UNIT, is_user=True, has_linger=True), "ok", "starts taskman", ""),
    ],
)
def test_systemd(seen: Services, level: str, words: str, fix: str) -> None:
    assert_says(judge_services(seen, user="ann"), level, words, fix)


TAB = ("/etc/crontab", ("SHELL=/bin/sh", "30 2 * * * root restic backup /home", "@daily tidy"))


@pytest.mark.parametrize(
    ("seen", "level", "words", "fix"),
    [
        (Others(), "ok", "no cron runs, 0 lines in crontabs; no scheduler to compare it with", ""),
        (Others(("cron",), (TAB,), {"b": ("backup /home",)}), "ok", "cron runs, 3 lines", ""),
        (
            Others(("cron",), (TAB,), {"b": ("restic  backup /home",)}),
            "fail",
            "b is also in /etc/crontab, so it runs twice",
            "remove it from /etc/crontab",
        ),
        (
            Others((), (TAB,), {"t": ("true", "tidy")}),
            "warn",
            "t is also in /etc/crontab, but no cron runs",
            "remove it",
        ),
        (
            Others(doubles=("x (process 7)",)),
            "fail",
            "another instance has the same job file: x (process 7)",
            "stop",
        ),
    ],
)
def test_duplicates_of_the_jobs(seen: Others, level: str, words: str, fix: str) -> None:
    assert_says(judge_others(seen), level, words, fix)


def test_several_findings_are_as_bad_as_the_worst_which_comes_first() -> None:
    found = worst([warn("a", "A"), fail("b", "B"), ok("c")], else_=ok("x"))
    assert fail("b; a; c", "B; A") == found
    assert ok("x") == worst([], else_=ok("x"))


def test_what_mends_several_findings_is_said_once() -> None:
    found = worst([warn("a", "A"), warn("b", "B"), warn("c", "A")], else_=ok("x"))
    assert (found.words, found.fix) == ("a; b; c", "A; B")


def test_a_check_that_raises_or_hangs_is_a_line_like_any_other() -> None:
    never = threading.Event()

    def hangs() -> CheckResult:
        never.wait()
        return ok("late")

    def raises(error: Exception) -> CheckResult:
        raise error

    try:
        found = examine(
            {
                "good": lambda: ok("fine"),
                "hangs": hangs,
                "ours": lambda: raises(NotFound("no such thing\n    2 | x")),
                "system": lambda: raises(PermissionError(13, "Permission denied", "/x")),
                "bug": lambda: raises(ZeroDivisionError("oops")),
            },
            patience_s=0.2,
        )
    finally:
        never.set()
    assert found == {
        "good": ok("fine"),
        "hangs": warn("no answer within 0.2 s"),
        "ours": warn("could not be checked: no such thing"),
        "system": warn("could not be checked: Permission denied: /x"),
        "bug": warn("could not be checked: ZeroDivisionError: oops"),
    }
    assert list(found) == ["good", "hangs", "ours", "system", "bug"]


@pytest.mark.parametrize(
    ("answers", "level", "words", "fix"),
    [
        ({}, "ok", "all jobs run here", ""),
        ({"py": Answer(((True, "Python 3.11", ""),))}, "ok", "py: Python 3.11", ""),
        ({"mine": Answer()}, "ok", "mine: nothing to check", ""),
        ({"web": Answer(((False, "refused", "ssh web"),))}, "warn", "web: refused", "ssh web"),
        ({"web": Answer(((False, "refused", ""),))}, "warn", "web: refused", "executor web"),
        (
            {"py": Answer(((True, "fine", ""),)), "web": Answer(trouble="no answer within 5 s")},
            "warn",
            "web: no answer within 5 s; py: fine",
            "executor web",
        ),
    ],
)
def test_executors(answers: dict[str, Answer], level: str, words: str, fix: str) -> None:
    assert_says(judge_executors(answers), level, words, fix)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            Place("v2", {"": "/x"}, frozenset({"memory", "processes", "cpu"})),
            "version 2, for memory, processes, cpu",
        ),
        (
            Place("v1", {"pids": "/x"}, frozenset({"processes"})),
            "version 1, for processes; memory holds for each",
        ),
        (Place("systemd", {}, frozenset({"memory", "processes"})), "systemd makes a scope"),
        (
            Place("", {}, frozenset()),
            "no control group can be made here, so memory holds for each process alone",
        ),
    ],
)
def test_groups(place: Place, words: str) -> None:
    assert_says(judge_groups(place), "ok", words, "")
