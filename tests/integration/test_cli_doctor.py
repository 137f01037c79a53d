"""`taskman doctor`: its looks at the real thing or a made-up tree, and the command as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from integration.ledger_builder import LedgerBuilder

from taskman_cli.cli.doctor import storage
from taskman_cli.cli.doctor.clock import look_at_clock, look_at_zones
from taskman_cli.cli.doctor.duplicates import look_at_others
from taskman_cli.cli.doctor.machine import Limits, look_at_limits, look_at_mailer
from taskman_cli.cli.doctor.sharing import has_autogroups
from taskman_cli.cli.doctor.storage import look_at_directory, look_at_ledger
from taskman_cli.cli.doctor.systemd import Services, look_at_services

CHECKS = [
    "state", "ledger", "scheduler", "sinks", "executors", "clock", "zone", "limits", "groups", "sharing",
    "mailer", "systemd", "others",
]  # fmt: skip


def doctor(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # As wide as it comes, unless a test says otherwise; pytest-xdist gives its workers a width.
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-m", "taskman_cli", "doctor", *arguments],
        check=False, capture_output=True, text=True, timeout=60, env=inherited | environ,
    )  # fmt: skip


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# --- looks ---


def test_a_directory_that_is_not_there_is_looked_for_above(tmp_path: Path) -> None:
    seen = look_at_directory(tmp_path / "a" / "b")
    assert (str(tmp_path), False, True) == (seen.place, seen.is_there, seen.is_writable)
    assert seen.file_system
    assert seen.free_bytes > 0


def test_a_file_that_is_not_a_ledger_is_reported_and_so_are_damaged_ones(tmp_path: Path) -> None:
    assert not look_at_ledger(tmp_path).is_there
    put(
        tmp_path,
        {"ledger.db": "no database at all" * 100, "ledger.db.broken-17": "", "ledger.db.broken-17-wal": ""},
    )
    seen = look_at_ledger(tmp_path)
    assert "is not a ledger" in seen.trouble
    assert seen.broken == ("ledger.db.broken-17",)


def test_a_ledger_is_looked_through_for_damage_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = LedgerBuilder(tmp_path)
    builder.job("a")
    with builder.connection:
        builder.connection.execute("BEGIN")
        for second in range(3_000):
            builder.run("a", at=second)
    assert look_at_ledger(tmp_path).finding == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_CHECK_S", 0)
        assert look_at_ledger(tmp_path).finding is None
    builder.close()
    data = bytearray((tmp_path / "ledger.db").read_bytes())
    for offset in range(3 * 4096, len(data), 5 * 4096):
        data[offset : offset + 200] = b"\xff" * 200
    (tmp_path / "ledger.db").write_bytes(data)
    finding = look_at_ledger(tmp_path).finding
    assert finding is not None
    assert "Page" in finding
    assert "\n" not in finding


def test_the_kernel_is_asked_for_the_clock() -> None:
    assert look_at_clock() in (True, False, None)


def test_what_says_which_zone_this_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"etc/timezone": "Asia/Tokyo\n", "usr/share/zoneinfo/Europe/Paris": ""})
    (tmp_path / "etc/localtime").symlink_to(tmp_path / "usr/share/zoneinfo/Europe/Paris")
    monkeypatch.setenv("TZ", "Europe/Rome")
    seen = look_at_zones(tmp_path)
    assert (
        seen.variable, seen.localtime, seen.timezone, seen.taken, seen.fault,
    ) == ("Europe/Rome", "Europe/Paris", "Asia/Tokyo", "Europe/Rome", "")  # fmt: skip
    assert seen.data
    monkeypatch.setenv("TZ", "UTC+3")
    assert "TZ=UTC+3" in look_at_zones(tmp_path).fault


def test_the_limits_of_a_process_and_all_groups_above_it(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "proc/7/limits": "Max open files 10 20 files\nMax processes unlimited unlimited processes\n",
            "proc/7/cgroup": "0::/system.slice/x.service\n",
            "sys/fs/cgroup/system.slice/x.service/pids.max": "max\n",
            "sys/fs/cgroup/system.slice/x.service/memory.max": "2000\n",
            "sys/fs/cgroup/system.slice/pids.max": "33\n",
            "sys/fs/cgroup/system.slice/memory.max": "9000\n",
        },
    )
    assert Limits(10, None, 33, 2000, "of process 7") == look_at_limits(7, root)
    assert look_at_limits(None).whose == "of this shell"


MACHINE = {"proc/sys/kernel/sched_autogroup_enabled": "1\n", "sys/fs/cgroup/cpu,cpuacct/release_agent": ""}


@pytest.mark.parametrize(
    ("files", "is_behind"),
    [
        pytest.param(MACHINE | {"proc/7/cgroup": "4:cpu,cpuacct:/\n0::/\n"}, True, id="no group"),
        pytest.param(MACHINE | {"proc/7/cgroup": "9:cpuset:/a\n4:cpu,cpuacct:/\n"}, True, id="no CPU group"),
        pytest.param(MACHINE | {"proc/7/cgroup": "4:cpu,cpuacct:/a:b\n0::/\n"}, False, id="version 1"),
        pytest.param(
            {"proc/sys/kernel/sched_autogroup_enabled": "1", "proc/7/cgroup": "4:cpu,cpuacct:/\n"}, False,
            id="the group of a container, version 1",
        ),
        pytest.param(MACHINE | {"proc/7/cgroup": "0::/a.slice/b\n"}, True, id="version 2, without weight"),
        pytest.param(
            MACHINE | {"proc/7/cgroup": "0::/a.slice/b\n", "sys/fs/cgroup/a.slice/cpu.weight": "9\n"}, False,
            id="version 2, above it",
        ),
        pytest.param(
            MACHINE | {"proc/7/cgroup": "0::/\n", "sys/fs/cgroup/cpu.weight": "100\n"}, False,
            id="the group of a container, version 2",
        ),
        pytest.param(MACHINE, True, id="nothing is known of groups"),
        pytest.param(MACHINE | {"proc/7/cgroup": "\n4:cpu\n"}, True, id="odd lines"),
        pytest.param(MACHINE | {"proc/sys/kernel/sched_autogroup_enabled": "0\n"}, False, id="switched off"),
        pytest.param({}, False, id="a kernel without autogroups"),
    ],
)  # fmt: skip
def test_who_begins_behind_what_computes(tmp_path: Path, files: dict[str, str], is_behind: bool) -> None:
    assert has_autogroups(7, put(tmp_path, files)) == is_behind


def test_units_that_start_taskman(tmp_path: Path) -> None:
    home = tmp_path / "home"
    root = put(
        tmp_path,
        {
            "proc/1/comm": "systemd\n",
            "etc/systemd/system/other.service": "[Service]\nExecStart=/bin/true taskman-like\n",
            "home/.config/systemd/user/jobs.service": "[Service]\nExecStart=/opt/taskman/bin/taskman run x\n",
        },
    )
    assert Services(False, "systemd") == look_at_services("ann", home=home, is_root=False, root=root)
    (root / "run/systemd/system").mkdir(parents=True)
    assert Services(
        True, "systemd", ("jobs.service",), (), True, silent=("jobs.service",)
    ) == look_at_services("ann", home=home, is_root=False, root=root)
    assert look_at_services("root", home=home, is_root=True, root=root).units == ()
    put(
        root,
        {
            "etc/systemd/system/multi-user.target.wants/taskman@web.service": "",
            "etc/systemd/system/taskman.service": "ExecStart=/usr/bin/python3 -m taskman_cli run x\n",
            "etc/systemd/system/taskman@.service": "Type=notify\nExecStart=/opt/bin/taskman run -i %i x\n",
            "var/lib/systemd/linger/ann": "",
        },
    )
    assert Services(
        True,
        "systemd",
        ("taskman.service", "taskman@.service"),
        ("taskman@.service",),
        has_linger=True,
        silent=("taskman.service",),
    ) == look_at_services("ann", home=home, is_root=False, root=root)


def test_cron_and_its_tables(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "proc/9/comm": "cron\n",
            "proc/10/comm": "bash\n",
            "proc/self/comm": "crond\n",
            "etc/crontab": "# no\n\n1 2 3 4 5  root\tx\n",
            "etc/cron.d/a": "@daily root y\n",
            "var/spool/cron/crontabs/ann": "* * * * * z",
            "var/spool/cron/crontabs/bob": "* * * * * secret",
        },
    )
    seen = look_at_others("ann", pid=None, base=tmp_path / "s", directory=tmp_path / "s", root=root)
    assert seen.crons == ("cron",)
    assert [lines for _, lines in seen.crontabs] == [
        ("1 2 3 4 5 root x",),
        ("@daily root y",),
        ("* * * * * z",),
    ]


def test_the_mailer_is_a_path() -> None:
    path = look_at_mailer()
    assert path is None or Path(path).is_absolute()


# --- the command ---


def test_each_check_is_a_line_and_nothing_is_made(tmp_path: Path) -> None:
    result = doctor("--state-dir", str(tmp_path / "none"))
    assert [line.split()[1] for line in result.stdout.splitlines()] == CHECKS
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"ok", "warn", "fail"}
    assert (result.stderr, list(tmp_path.iterdir())) == ("", [])


def test_a_failing_check_makes_it_exit_with_1_and_json_says_the_same(tmp_path: Path) -> None:
    LedgerBuilder(tmp_path).close()
    tmp_path.chmod(0o700)
    found = {row["check"]: row for row in json.loads(doctor("--json", "--state-dir", str(tmp_path)).stdout)}
    assert list(found) == CHECKS
    assert found["state"]["level"] != "fail"  # where the tests run may be in memory
    assert found["ledger"]["level"] == "ok"
    tmp_path.chmod(0o777)
    result = doctor("--json", "--state-dir", str(tmp_path))
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert (result.returncode, rows["state"]["level"]) == (1, "fail")
    assert rows["state"]["fix"].partition("; ")[0] == f"chmod 700 {tmp_path}"


def test_on_80_columns_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory() as path:  # whose name has room in a line
        monkeypatch.chdir(path)
        wide = doctor("--state-dir", "none")
        narrow = doctor("--state-dir", "none", COLUMNS="80")
        monkeypatch.undo()
    assert wide.stdout.split() == narrow.stdout.split()
    assert max(map(len, narrow.stdout.splitlines())) <= 80 < max(map(len, wide.stdout.splitlines()))
