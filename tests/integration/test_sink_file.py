"""Sinks that append to a file: rotation, crashes, full disks and other users."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from unit.test_sink_messages import LINE

from taskman_cli.core.sinks import SinkDefinition
from taskman_cli.sinks import file as module
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, check, check_failure, message
from taskman_cli.sinks.types import make
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from taskman_cli.sinks.base import Message, Sink

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected")
TRUSTING = Surroundings(environ={}, trust=Trust(is_checked=False))
CHECKED = Surroundings(environ={}, trust=Trust())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "reports.jsonl"


def definition(path: Path | str, **settings: Any) -> SinkDefinition:
    return SinkDefinition("log", "file", settings={"path": str(path), **settings})


def sink(path: Path, around: Surroundings = TRUSTING, **settings: Any) -> Sink:
    return make(definition(path, **settings), around)


def failure(given: Sink, what: Message | None = None) -> str:
    with pytest.raises(DeliveryFailed) as caught:
        given.deliver(what or message(), 10.0)
    return str(caught.value)


def test_it_stands_the_suite(path: Path) -> None:
    check(definition(path), surroundings=TRUSTING)
    lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert len(lines) == 2 * sum(len(odd.reports) for odd in ODD.values())
    for line in lines:
        Draft202012Validator(LINE).validate(line)
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_cannot_be_written_stands_the_suite(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "missing/file", "/dev/full", "/proc/version"):
        check_failure(definition(wrong), surroundings=TRUSTING)
    os.mkfifo(tmp_path / "fifo")
    assert str(check_failure(definition(tmp_path / "fifo"), surroundings=TRUSTING)).endswith(
        "not a regular file"
    )


def test_a_file_that_is_moved_away_or_removed_is_made_anew(path: Path) -> None:
    log = sink(path)
    log.deliver(message(), 10.0)
    path.rename(path.with_suffix(".1"))
    log.deliver(message(), 10.0)
    path.unlink()
    log.deliver(message(), 10.0)
    log.deliver(message(), 10.0)
    assert [len(file.read_bytes().splitlines()) for file in (path.with_suffix(".1"), path)] == [1, 2]
    path.write_bytes(b"")  # copytruncate
    log.deliver(message(), 10.0)
    assert len(path.read_bytes().splitlines()) == 1
    log.close()


def test_a_line_that_a_crash_cut_short_is_ended_first(path: Path) -> None:
    path.write_bytes(b'{"half":')
    sink(path).deliver(message(), 10.0)
    half, whole = path.read_bytes().splitlines()
    assert half == b'{"half":'
    assert json.loads(whole)["job"] == "backup"


def test_lines_that_others_append_meanwhile_stay_whole(path: Path) -> None:
    first, second = sink(path), sink(path)
    for _ in range(20):
        first.deliver(message(), 10.0)
        second.deliver(message(), 10.0)
    assert len([json.loads(line) for line in path.read_bytes().splitlines()]) == 40


@as_root
def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(small)], check=True)
    try:
        log = sink(small / "log", CHECKED)
        (small / "rest").write_bytes(b"x" * 4000)
        log.deliver(message(), 10.0)
        assert "No space left on device" in failure(log, ODD["one long line"])
        data = (small / "log").read_bytes()
        assert data.endswith(b"\n")
        (small / "rest").unlink()
        log.deliver(message(), 10.0)
        log.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("around", "settings", "expected"),
    [
        (TRUSTING, {}, 0),
        (TRUSTING, {"durability": "power"}, 2),
        (Surroundings(environ={}, trust=TRUSTING.trust, is_durable=True), {}, 2),
        (Surroundings(environ={}, trust=TRUSTING.trust, is_durable=True), {"durability": "process"}, 0),
    ],
)
def test_lines_survive_a_power_cut_where_that_is_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, around: Surroundings, settings: dict[str, str], expected: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(module.os, "fsync", synced.append)
    sink(path, around, **settings).deliver(message(), 10.0)
    # The file, and the directory in which it is new.
    assert len(synced) == expected


@as_root
def test_roots_file_is_not_chosen_by_another_user(path: Path) -> None:
    victim = path.parent / "victim"
    victim.write_text("")
    path.symlink_to(victim)
    assert "Too many levels of symbolic links" in failure(sink(path, CHECKED))
    path.unlink()
    path.write_text("")
    os.chown(path, 65534, 65534)
    assert "who would decide what root runs" in failure(sink(path, CHECKED))
    path.unlink()
    os.link(victim, path)
    assert "another name" in failure(sink(path, CHECKED))
    path.unlink()
    path.parent.chmod(0o777)
    assert "chmod o-w" in failure(sink(path, CHECKED))
    path.parent.chmod(0o755)
    os.chown(path.parent, 65534, 65534)
    assert "who would decide what root runs" in failure(sink(path, CHECKED))
    assert victim.read_text() == ""


@as_root
def test_in_a_sticky_directory_root_makes_its_own_file(path: Path) -> None:
    path.parent.chmod(0o1777)
    sink(path, CHECKED).deliver(message(), 10.0)
    assert len(path.read_bytes().splitlines()) == 1
    path.parent.chmod(0o755)


def test_a_link_of_ones_own_is_followed(path: Path) -> None:
    real = path.with_suffix(".real")
    real.write_text("")
    path.symlink_to(real)
    sink(path).deliver(message(), 10.0)
    assert real.read_bytes().count(b"\n") == 1
