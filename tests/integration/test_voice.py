"""What the supervisor says: in each form of the log, without waiting for whoever reads it."""

from __future__ import annotations

import json
import os
import re
import select
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.journald_stand_in import JournaldStandIn

from taskman_cli.supervisor import voice as module
from taskman_cli.supervisor.journald import JournalSocket
from taskman_cli.supervisor.voice import DEBUG, ERROR, NOTICE, WARNING, Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

NASTY = "a\nb\x1b[2J\udce9"
SHOWN = r"a\nb\x1b[2J\xe9"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"


class Reader:
    """The reader of what stands for standard error."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def take(self) -> str:
        data = bytearray()
        try:
            while more := os.read(self.reading, 1 << 16):
                data += more
        except BlockingIOError:
            pass
        return data.decode()

    def fill(self) -> None:
        os.set_blocking(self.writing, False)
        for size in (4096, 1):
            try:
                while True:
                    os.write(self.writing, b"." * size)
            except BlockingIOError:
                continue
        os.set_blocking(self.writing, True)

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            try:
                os.close(fd)
            except OSError:
                continue


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    reader = Reader()
    monkeypatch.setattr(module, "_STDERR", reader.writing)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    yield reader
    reader.close()


@pytest.fixture
def epoll() -> Iterator[select.epoll]:
    with select.epoll() as epoll:
        yield epoll


def voice_of(form: str, level: int = NOTICE) -> Voice:
    voice = Voice()
    voice.configure(form, level)
    return voice


def test_text_has_time_and_level(reader: Reader) -> None:
    voice = voice_of("auto")
    voice.say(NASTY)
    voice.say("x", NOTICE)
    first, second = reader.take().splitlines()
    assert re.fullmatch(rf"{TIME} error   {re.escape(SHOWN)}", first)
    assert re.fullmatch(rf"{TIME} notice  x", second)


def test_without_a_log_to_follow_it_says_who_it_is(reader: Reader) -> None:
    Voice().say(NASTY)
    assert reader.take() == f"taskman: {SHOWN}\n"


def test_json_has_the_keys_of_the_log(reader: Reader) -> None:
    voice = voice_of("json")
    voice.say(NASTY, WARNING, "scheduler_died")
    found = json.loads(reader.take())
    assert re.fullmatch(TIME.replace("[+", r"\.\d{3}[+"), found.pop("time"))
    assert found == {
        "level": "warning",
        "part": "supervisor",
        "message": SHOWN,
        "event": "scheduler_died",
    }


@pytest.mark.parametrize("char", ["x", "ö", "\x00", "\U0001f600"])
@pytest.mark.parametrize("form", ["text", "json", "plain"])
def test_a_long_line_is_cut_so_that_a_pipe_takes_it_whole(reader: Reader, form: str, char: str) -> None:
    voice_of(form).say(char * 10_000)
    text = reader.take()
    assert text.count("\n") == 1
    assert 3_000 < len(text.encode()) <= select.PIPE_BUF
    if form == "json":
        json.loads(text)


def test_in_the_journal_text_has_a_priority_and_no_time(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(reader.writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    voice_of("text").say("x", WARNING)
    assert reader.take() == "<4>x\n"
    assert voice_of("auto").form == "journald"


def test_journald_gets_fields_and_standard_error_what_it_cannot_get(reader: Reader, tmp_path: Path) -> None:
    voice = voice_of("journald")
    voice._journal = JournalSocket(str(tmp_path / "socket"))
    with JournaldStandIn(tmp_path / "socket") as journald:
        voice.say(NASTY, ERROR, "scheduler_died")
        found = journald.take()
    assert len(found.pop("MESSAGE_ID")) == 32
    assert found == {
        "MESSAGE": SHOWN,
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "taskman",
        "TASKMAN_PART": "supervisor",
        "TASKMAN_EVENT": "scheduler_died",
    }
    assert reader.take() == ""
    voice.say("gone")
    assert reader.take().endswith(" error   gone\n")


def test_what_is_below_the_level_is_not_said(reader: Reader) -> None:
    voice_of("text", ERROR).say("x", WARNING)
    assert reader.take() == ""


def test_unknown_settings_change_nothing() -> None:
    voice = voice_of("json", WARNING)
    voice.configure("xml", None)
    voice.configure(None, "loud")
    assert (voice.form, voice.level) == ("json", WARNING)


def test_lines_without_room_are_dropped_counted_and_reported_when_there_is_room(
    reader: Reader, epoll: select.epoll
) -> None:
    voice = voice_of("text")
    voice.begin(epoll, lambda: False)
    reader.fill()
    for _ in range(3):
        voice.say("lost")
    assert (voice.dropped, epoll.poll(0)) == (3, [])
    reader.take()
    ((fd, _),) = epoll.poll(0)
    assert voice.hear_from(fd)
    assert reader.take().endswith(" warning 3 lines dropped: the log was not read fast enough\n")
    assert (voice.dropped, epoll.poll(0)) == (0, [])
    assert not voice.hear_from(fd)


def test_a_journald_that_is_busy_is_told_later(epoll: select.epoll, tmp_path: Path) -> None:
    voice = voice_of("journald")
    voice.begin(epoll, lambda: False)
    voice._journal = JournalSocket(str(tmp_path / "socket"))
    with JournaldStandIn(tmp_path / "socket") as journald:
        said = 0
        while not voice.dropped:
            voice.say("x")
            said += 1
        assert epoll.poll(0) == []
        for _ in range(said - 1):
            journald.take()
        ((fd, _),) = epoll.poll(0)
        assert voice.hear_from(fd)
        assert journald.take()["MESSAGE"] == "1 line dropped: the log was not read fast enough"
    voice._journal.close()


def test_a_reader_that_is_gone_wakes_nobody(reader: Reader, epoll: select.epoll) -> None:
    voice = voice_of("text")
    voice.begin(epoll, lambda: False)
    os.close(reader.reading)
    voice.say("x")
    assert (voice.dropped, epoll.poll(0)) == (1, [])


def test_a_file_that_takes_nothing_wakes_nobody(epoll: select.epoll, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(module, "_STDERR", full.fileno())
        voice = voice_of("text")
        voice.begin(epoll, lambda: False)
        voice.say("x")
        assert (voice.dropped, epoll.poll(0)) == (1, [])


def test_with_a_log_of_the_users_own_the_scheduler_logs_it(reader: Reader, epoll: select.epoll) -> None:
    can_hear = True
    voice = voice_of("own", WARNING)
    voice.begin(epoll, lambda: can_hear)
    voice.say("not this", NOTICE)
    voice.say("one")
    assert [message[:4] for message in voice.untold()] == [("said", ERROR, "one", "")]
    assert voice.untold() == []
    assert reader.take() == ""
    can_hear = False  # then a person hears it at once, and the next scheduler logs it
    voice.say("two", ERROR, "scheduler_died")
    assert voice.untold() == []
    assert reader.take().endswith(" error   two\n")
    can_hear = True
    assert [message[2:4] for message in voice.untold()] == [("two", "scheduler_died")]
    for number in range(300):
        voice.say(str(number))
    assert [message[2] for message in voice.untold()] == [str(number) for number in range(200, 300)]


def test_messages_are_traced_only_if_that_is_asked_for(reader: Reader) -> None:
    messages = [
        ("started", "a", 7, 0, 0),
        ("ended", "a", {"status": 256}),
        ("due", 1, 0, 0),
        ("forget", ["a"]),
    ]
    assert voice_of("text").trace("to", messages) == messages
    assert reader.take() == ""
    assert voice_of("text", DEBUG).trace("to", messages) == messages
    assert [line.split("debug   ")[1] for line in reader.take().splitlines()] == [
        "to the scheduler: started a (process 7)",
        "to the scheduler: ended a (exit code 1)",
        "to the scheduler: forget",
    ]
