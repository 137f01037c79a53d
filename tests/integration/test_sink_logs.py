"""Sinks that write to logs: journald's native protocol and syslog, against sockets of our own."""

from __future__ import annotations

import os
import re
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.core.sinks import Facility, ReportKind, SinkDefinition
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, REPORT, check, check_failure, check_network, message
from taskman_cli.sinks.types import make
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AROUND = Surroundings(environ={}, trust=Trust(is_checked=False))


@contextmanager
def receiver(family: int, address: Any) -> Iterator[tuple[Any, list[bytes]]]:
    """Take datagrams, and files that are sent in their place."""
    got: list[bytes] = []
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as here:
        here.bind(address)

        def receive() -> None:
            while True:
                data, fds, _, _ = socket.recv_fds(here, 1 << 20, 4)
                if data == b"stop":
                    return
                for fd in fds:
                    data += os.pread(fd, 1 << 24, 0)
                    os.close(fd)
                got.append(data)

        thread = threading.Thread(target=receive, daemon=True)
        thread.start()
        try:
            yield here.getsockname(), got
        finally:
            with closing(socket.socket(family, socket.SOCK_DGRAM)) as last:
                last.sendto(b"stop", here.getsockname())
            thread.join(60)


def fields(data: bytes) -> dict[str, str]:
    """Decode what journald is sent."""
    found: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        found[name.decode("ascii")] = value.decode("utf-8")
    return found


def journald(path: Path | str, **settings: Any) -> SinkDefinition:
    return SinkDefinition("journal", "journald", settings={"socket": str(path), **settings})


def test_journald_stands_the_suite(tmp_path: Path) -> None:
    with receiver(socket.AF_UNIX, str(tmp_path / "socket")) as (path, got):
        check(journald(path), surroundings=AROUND)
    assert len(got) == 2 * sum(len(odd.reports) for odd in ODD.values())
    for data in got:
        entry = fields(data)
        assert re.fullmatch(r"[346]", entry["PRIORITY"])
        assert entry["MESSAGE"].isprintable()
        assert entry.keys() >= {
            "MESSAGE_ID",
            "SYSLOG_IDENTIFIER",
            "TASKMAN_EVENT",
            "TASKMAN_KEY",
            "TASKMAN_HOST",
        }
        assert all(re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name) for name in entry)


def test_an_entry_can_be_selected_by_job_and_event(tmp_path: Path) -> None:
    with receiver(socket.AF_UNIX, str(tmp_path / "socket")) as (path, got):
        sink = make(journald(path, identifier="cron"), AROUND)
        sink.deliver(message(), 10.0)
        sink.close()
    entry = fields(got[0])
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("backup failed: exit 3", "3")
    assert (entry["SYSLOG_IDENTIFIER"], entry["TASKMAN_JOB"]) == ("cron", "backup")
    assert (entry["TASKMAN_EXIT_CODE"], entry["TASKMAN_EVENT"]) == ("3", "failed")
    assert entry["TASKMAN_OUTPUT"] == "...\nconnecting\ncannot connect"


def test_a_machine_without_journald_is_told_and_one_that_restarts_it_is_served(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    error = check_failure(journald(path), surroundings=AROUND)
    assert (error.is_down, str(error)) == (True, f"journald: {path}: No such file or directory")
    sink = make(journald(path), AROUND)
    for _ in range(2):
        with receiver(socket.AF_UNIX, str(path)) as (_, got):
            sink.deliver(message(), 10.0)
        assert len(got) == 1
        path.unlink()
    sink.close()


def test_a_journald_that_does_not_read_holds_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as here:
        here.bind(path)
        sink = make(journald(path), AROUND)
        with pytest.raises(DeliveryFailed, match="journald has too much to read"):
            sink.deliver(message(*[REPORT] * 5_000), 1.0)
        sink.close()


# --- syslog ---


def syslog(address: str, **settings: Any) -> SinkDefinition:
    return SinkDefinition("syslog", "syslog", settings={"address": address, **settings})


def test_the_machines_own_syslog_stands_the_suite(tmp_path: Path) -> None:
    with receiver(socket.AF_UNIX, str(tmp_path / "log")) as (path, got):
        check(syslog(path), surroundings=AROUND)
    for data in got:
        assert re.match(rb"<2[78]>|<30>", data)
        assert re.match(rb"<\d+>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d taskman\[\d+\]: ", data)
        assert len(data) <= 8192
        assert data.decode("utf-8").isprintable()
    check_failure(syslog(str(tmp_path / "none")), surroundings=AROUND)


#: RFC 5424, section 6.
_RFC_5424 = re.compile(
    r"<\d{1,3}>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 [!-~]{1,255} [!-~]{1,48} \d+ [!-~]{1,32} "
    r'\[taskman@32473( [!-~]{1,32}="([^"\\\]]|\\["\\\]])*")*\] [^\x00-\x1f]*'
)


def test_datagrams_are_of_rfc_5424() -> None:
    with receiver(socket.AF_INET, ("127.0.0.1", 0)) as ((_, port), got):
        definition = syslog(f"udp://127.0.0.1:{port}", facility="local3", identifier="cron")
        for odd in ODD.values():
            make(definition, AROUND).deliver(odd, 10.0)
        make(definition, AROUND).deliver(message(replace(REPORT, job='a"]\\b')), 10.0)
    for data in got:
        assert _RFC_5424.fullmatch(data.decode("utf-8"))
        assert len(data) <= 2048
    priority = (16 + 3) * 8 + 3
    assert got[0].startswith(f"<{priority}>1 2026-11-30T02:30:02.000+00:00 web1.example.org cron ".encode())
    assert (
        b'[taskman@32473 event="failed" job="backup" task="main" run="67ch8jhsxb"] backup failed: exit 3 |'
        in got[0]
    )
    assert b'job="a\\"\\]\\\\b"' in got[-1]


def test_facilities_have_the_numbers_of_syslog(tmp_path: Path) -> None:
    numbers = {"kern": 0, "user": 1, "daemon": 3, "cron": 9, "ftp": 11, "local0": 16, "local7": 23}
    with receiver(socket.AF_UNIX, str(tmp_path / "log")) as (path, got):
        for facility in numbers:
            assert facility in [*Facility]
            make(syslog(path, facility=facility), AROUND).deliver(message(), 10.0)
    assert [int(data[1 : data.index(b">")]) // 8 for data in got] == [*numbers.values()]


def test_streams_count_their_octets() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        got: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65536):
                    got.append(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        make(syslog(f"tcp://127.0.0.1:{port}"), AROUND).deliver(message(REPORT, REPORT), 10.0)
        thread.join(60)
    data = b"".join(got)
    for _ in range(2):
        size, _, data = data.partition(b" ")
        packet, data = data[: int(size)], data[int(size) :]
        assert _RFC_5424.fullmatch(packet.decode("utf-8"))
    assert data == b""


def test_a_server_that_refuses_is_told() -> None:
    # Whoever takes the connection has taken the message: syslog knows no answer.
    others = ["hangs", "closes", "resets", "dribbles", "floods", "babbles"]
    check_network(lambda host, port: syslog(f"tcp://{host}:{port}"), surroundings=AROUND, without=others)


def test_json_is_a_format_of_syslog(tmp_path: Path) -> None:
    with receiver(socket.AF_UNIX, str(tmp_path / "log")) as (path, got):
        definition = replace(syslog(path), format="json")
        make(definition, AROUND).deliver(message(replace(REPORT, kind=ReportKind.SUCCEEDED)), 10.0)
    assert got[0].partition(b"]: ")[2].startswith(b'{"version":1,')
