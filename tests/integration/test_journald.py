"""What is sent to journald: small and large entries, and a journald that is busy, restarted or gone."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.journald_stand_in import JournaldStandIn
from wait import wait_until

from taskman_cli.scheduler.logs.forms import JournalEntry, JournalForm
from taskman_cli.scheduler.logs.handler import LineHandler
from taskman_cli.scheduler.logs.writers import JournalWriter, StderrWriter
from taskman_cli.supervisor.journald import JournalSocket, encode, leads_to_journald, priority

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[JournaldStandIn]:
    with JournaldStandIn(tmp_path / "socket") as journald:
        yield journald


@pytest.fixture
def sender(journald: JournaldStandIn) -> Iterator[JournalSocket]:
    sender = JournalSocket(str(journald.path))
    yield sender
    sender.close()


FIELDS = {"MESSAGE": "a\nb", "PRIORITY": "3", "TASKMAN_DETAIL": "=\n", "TASKMAN_JOB": "über"}


def test_an_entry_arrives_as_it_was_sent(journald: JournaldStandIn, sender: JournalSocket) -> None:
    assert sender.send(encode(FIELDS.items()))
    assert journald.take() == FIELDS


def test_an_entry_that_is_too_large_for_a_datagram_comes_in_a_sealed_file(
    journald: JournaldStandIn, sender: JournalSocket
) -> None:
    fields = {"MESSAGE": "x" * 3_000_000 + "\n", "PRIORITY": "6"}
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert sender.send(encode(fields.items()))
    assert journald.take() == fields
    sender.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_a_journald_that_is_busy_delays_nobody(
    journald: JournaldStandIn, sender: JournalSocket, size: int
) -> None:
    data = encode([("MESSAGE", "x" * size)])
    sent = 0
    while sender.send(data):
        sent += 1
        assert sent < 100_000
    journald.take()
    assert sender.send(data)


def test_a_journald_that_was_restarted_gets_the_next_entry(
    journald: JournaldStandIn, sender: JournalSocket
) -> None:
    assert sender.send(b"MESSAGE=one\n")
    journald.sock.close()
    journald.path.unlink()
    with JournaldStandIn(journald.path) as other:
        assert sender.send(b"MESSAGE=two\n")
        assert other.take() == {"MESSAGE": "two"}


def test_a_journald_that_is_gone_is_an_error_and_not_a_wait(
    journald: JournaldStandIn, sender: JournalSocket
) -> None:
    assert sender.fileno() == -1
    journald.sock.close()
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"MESSAGE=one\n")
    journald.path.unlink()
    with pytest.raises(FileNotFoundError):
        sender.send(b"MESSAGE=one\n")
    assert sender.fileno() == -1


def test_levels_have_the_priorities_of_syslog() -> None:
    assert list(map(priority, (5, 10, 20, 25, 30, 40, 50, 99))) == [7, 7, 6, 5, 4, 3, 2, 2]


def test_only_the_very_descriptor_that_systemd_names_leads_to_the_journal(tmp_path: Path) -> None:
    file = tmp_path / "x"
    with file.open("w") as stream:
        status = os.fstat(stream.fileno())
        right = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert leads_to_journald(stream.fileno(), right)
        for wrong in ("", "x", f"{status.st_dev}:1", f"{status.st_ino}", "1:2:3"):
            assert not leads_to_journald(stream.fileno(), {"JOURNAL_STREAM": wrong})
    assert not leads_to_journald(999, right)
    assert not leads_to_journald(0, {})


# --- the scheduler's handler ---


def handler_of(journald: JournaldStandIn, stderr: int) -> LineHandler[JournalEntry]:
    writer = JournalWriter(
        lambda words: f"<4>{words}", JournalSocket(str(journald.path)), StderrWriter(stderr)
    )
    return LineHandler(JournalForm(), writer.write, lambda: 0.0, writer.close)


def say(handler: LineHandler[Any], *words: str) -> None:
    for message in words:
        handler.put_message(20, "taskman.runs", message, {})


def test_lines_go_to_standard_error_while_journald_is_gone(journald: JournaldStandIn, tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("wb") as stderr:
        handler = handler_of(journald, stderr.fileno())
        say(handler, "one")
        assert journald.take()["MESSAGE"] == "one"
        journald.sock.close()
        journald.path.unlink()
        say(handler, "two")
        wait_until(lambda: path.read_text().count("\n") == 2)
        say(handler, "three")
        wait_until(lambda: path.read_text().count("\n") == 3)
        with JournaldStandIn(journald.path) as other:
            say(handler, "four")
            assert other.take()["MESSAGE"] == "four"
        handler.close()
    assert path.read_text() == (
        "<4>journald does not answer (No such file or directory): the log goes to standard error\n"
        "<6>two\n<6>three\n"
    )


def test_a_journald_that_is_stopped_gets_all_once_it_goes_on(
    journald: JournaldStandIn, tmp_path: Path
) -> None:
    with (tmp_path / "stderr").open("wb") as stderr:
        handler = handler_of(journald, stderr.fileno())
        lines = [f"line {number}" for number in range(3_000)]  # more than a socket holds
        say(handler, *lines)
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.extend(journald.take()["MESSAGE"] for _ in lines))
        reader.start()
        reader.join(30)
        handler.close()
    assert found == lines


# --- standard error ---


def test_a_full_disk_tears_no_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = StderrWriter(full.fileno())
        with pytest.raises(OSError, match="No space left"):
            writer.write(["x"])
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = StderrWriter(writing)
    text = "x" * 100_000  # more than a pipe holds
    taken = bytearray()

    def read() -> None:
        while not taken.endswith(b"end\n"):
            taken.extend(os.read(reading, 4096))

    reader = threading.Thread(target=read)
    reader.start()
    writer.write([text, "end"])
    reader.join(30)
    assert taken.decode() == f"{text}\nend\n"
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        writer.write(["gone"])
    os.close(writing)
