"""What is written to the files of control groups, and what systemd is asked for."""

from __future__ import annotations

import os
import struct

import pytest

from taskman_cli.supervisor.closing import Report, note_memory
from taskman_cli.supervisor.groups import _directories, _settings
from taskman_cli.supervisor.scope import _call

EVERYTHING = {"memory": 200 << 20, "processes": 50, "cpu": 1.5}


def settings(kind: str) -> dict[str, str]:
    return {file: value for file, value, _ in _settings(kind, EVERYTHING)}


def test_version_2_has_all_limits_in_one_group() -> None:
    assert settings("") == {
        "memory.max": "209715200",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "50",
        "cpu.max": "150000 100000",
    }


def test_version_1_has_a_group_for_each_limit() -> None:
    assert settings("memory") == {
        "memory.limit_in_bytes": "209715200",
        "memory.memsw.limit_in_bytes": "209715200",
    }
    assert settings("pids") == {"pids.max": "50"}
    assert settings("cpu") == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}


@pytest.mark.parametrize("kind", ["", "memory", "pids", "cpu"])
def test_what_is_not_limited_is_not_written(kind: str) -> None:
    assert list(_settings(kind, {})) == []


@pytest.mark.parametrize(
    ("mount", "own", "expected"),
    [
        (("/", "/sys/fs/cgroup"), "/a/b", "/sys/fs/cgroup/a/b"),
        (("/", "/sys/fs/cgroup"), "/", "/sys/fs/cgroup"),
        (("/docker/x", "/sys/fs/cgroup"), "/docker/x", "/sys/fs/cgroup"),
        (("/docker/x", "/sys/fs/cgroup"), "/docker/x/y", "/sys/fs/cgroup/y"),
        (("/docker/x", "/sys/fs/cgroup"), "/docker/xy", None),
        (("/docker/x", "/sys/fs/cgroup"), "/../other", None),
    ],
)
def test_a_group_is_where_its_hierarchy_is_mounted(
    mount: tuple[str, str], own: str, expected: str | None
) -> None:
    assert _directories({"": mount}, {"": own}).get("") == expected


def test_systemd_is_asked_for_a_scope_of_this_process_with_the_limits() -> None:
    message = _call("taskman-x.scope", EVERYTHING)
    body_bytes, serial, fields_bytes = struct.unpack_from("<III", message, 4)
    assert (message[:4], serial) == (b"l\1\0\1", 1)
    assert len(message) == 16 + fields_bytes + -fields_bytes % 8 + body_bytes
    for word in (b"StartTransientUnit", b"taskman-x.scope", b"PIDs", b"CollectMode", b"inactive-or-failed"):
        assert word + b"\0" in message
    for name, value in (
        (b"MemoryMax", 200 << 20),
        (b"MemorySwapMax", 0),
        (b"TasksMax", 50),
        (b"CPUQuotaPerSecUSec", 1_500_000),
    ):
        begin = message.index(name) + len(name) + 1
        assert message[begin : begin + 3] == b"\1t\0"
        begin += 3
        begin += -begin % 8
        assert struct.unpack_from("<Q", message, begin) == (value,)
    begin = message.index(b"PIDs\0") + 5 + 4
    begin += -begin % 4
    assert struct.unpack_from("<II", message, begin) == (4, os.getpid())


@pytest.mark.parametrize(
    ("report", "status", "peak", "is_risen", "expected"),
    [
        (Report(1, 100, 0, []), 9, 0, False, 100),
        (Report(0, 100, 0, []), 9, 100, False, None),
        (Report(2, 0, 0, []), 9, 100, False, None),
        (Report(0, 0, 0, []), 9, 90, True, 100),
        (Report(0, 0, 0, []), 137 << 8, 90, True, 100),
        (Report(0, 0, 0, []), 9, 50, True, None),
        (Report(0, 0, 0, []), 0, 90, True, None),
        (None, 9, 90, False, None),
    ],
    ids=["told", "none", "no-limit", "counter", "child", "used-little", "went-well", "silent"],
)
def test_over_its_limit_is_who_was_killed_for_it(
    report: Report | None, status: int, peak: int, is_risen: bool, expected: int | None
) -> None:
    end = {"status": status, "peak_rss_bytes": peak}
    note_memory(end, report, 100, is_risen=is_risen)
    assert end.get("over_memory") == expected
