"""The control socket's server: whatever clients do, each is answered in order and none delays the others."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.control_driver import ServerDriver
from process_table import descriptors

from taskman_cli.control.peers import (
    ENOUGH_UNREAD_BYTES,
    MAX_UNREAD_BYTES,
    PORTION_UNREAD_BYTES,
    READ_BYTES,
    SENT_BYTES,
)
from taskman_cli.control.place import runtime_place
from taskman_cli.control.server import MAX_CLIENTS, TURN_BYTES, TURN_REQUESTS
from taskman_cli.core.protocol import (
    MAX_LINE_BYTES,
    VERSION,
    ListJobs,
    Reload,
    Request,
    Show,
    Status,
    TriggerJob,
    Wait,
    encode,
)
from taskman_cli.errors import Refused, TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.control.peers import Client

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[ServerDriver]:
    driver = ServerDriver(tmp_path)
    yield driver
    driver.close()


def did(*words: str) -> list[dict[str, object]]:
    return [{"ok": True, "did": word} for word in words]


# --- requests and replies ---


def test_requests_of_a_client_are_answered_in_order(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Status(), Show(job="a"), Reload())
    driver.settle()
    assert did("status", "show", "reload") == raw.read()
    assert [request for _, request in driver.asked] == [Status(), Show(job="a"), Reload()]


def test_a_request_waits_until_the_one_before_it_is_answered(driver: ServerDriver) -> None:
    raw, other = driver.connected(), driver.connected()
    raw.send(Wait(target="a"), Status())
    other.send(Status())
    driver.settle()
    assert raw.read() == []
    assert did("status") == other.read()
    driver.waiting[0].reply({"ok": True, "runs": ["r1"]})
    assert not driver.is_called()
    driver.server.flush(driver.now_ns)
    driver.settle()
    assert raw.read() == [{"ok": True, "runs": ["r1"]}, *did("status")]


def test_the_end_of_a_run_is_reported_out_of_turn(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"))
    driver.settle()
    client = driver.waiting[0]
    client.reply({"ok": True, "runs": ["r1"]})
    driver.server.flush(driver.now_ns)
    raw.send(Status())
    driver.settle()
    client.reply({"ok": True, "state": "succeeded"}, final=True)
    driver.server.flush(driver.now_ns)
    assert raw.read() == [
        {"ok": True, "runs": ["r1"]},
        *did("status"),
        {"ok": True, "state": "succeeded", "final": True},
    ]


def test_nothing_is_sent_before_the_flush(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Status(), b"junk\n", Status())
    while driver.is_called():
        driver.server.turn(driver.now_ns)
    assert raw.read() == []
    driver.server.flush(driver.now_ns)
    assert [reply["ok"] for reply in raw.read()] == [True, False, True]


def test_the_handler_gets_the_credentials_of_the_client(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Status())
    driver.settle()
    client, _ = driver.asked[0]
    assert (os.getpid(), os.geteuid(), False) == (client.pid, client.uid, client.is_closed)


def test_a_second_answer_to_one_request_is_dropped_and_logged(
    driver: ServerDriver, caplog: pytest.LogCaptureFixture
) -> None:
    raw = driver.connected()
    raw.send(Status())
    driver.settle()
    driver.asked[0][0].reply({"ok": True, "did": "it again"})
    driver.turn()
    assert did("status") == raw.read()
    assert caplog.messages == [f"control: a request of process {os.getpid()} was answered twice"]


def test_an_error_of_the_handler_is_answered_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ServerDriver):
        def handle(self, request: Request, client: Client) -> None:
            if isinstance(request, ListJobs):
                raise ZeroDivisionError
            if isinstance(request, Show):
                client.reply({"ok": True, "did": "show"})
                raise ZeroDivisionError
            if isinstance(request, Reload):
                client.reply({"ok": True, "did": object()})
            super().handle(request, client)

    driver = Broken(tmp_path)
    raw = driver.connected()
    raw.send(ListJobs(), Show(job="a"), Reload(), Status())
    driver.settle()
    error = {"ok": False, "error": "internal error; see the scheduler's log", "code": 1}
    assert raw.read() == [error, *did("show"), error, *did("status")]
    assert [
        f"control: request '{do}' of process {os.getpid()} failed" for do in ("list", "show", "reload")
    ] == caplog.messages
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    driver.close()


# --- garbage ---


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\n", "not JSON: "),
        (b"\0\xff\xfe\n", "not JSON: "),
        (b"GET / HTTP/1.1\r\n", "not JSON: "),
        (b'{"do":"fly"}\n', "unknown request 'fly': not one of "),
        (b'{"do":"show"}\n', "show requires job"),
        (b'{"do":"' + b"x" * 10_000 + b'"}\n', "unknown request 'xxx"),
        (b"[" * 100_000 + b"\n", "not JSON: "),
        (b'{"v":7,"do":"status"}\n', "version 7 is not supported, only 1"),
    ],
    ids=["empty", "bytes", "http", "verb", "parameter", "long word", "deep", "version"],
)
def test_an_invalid_line_gets_an_error_and_the_connection_stays(
    driver: ServerDriver, line: bytes, words: str
) -> None:
    raw = driver.connected()
    raw.send(line, Status())
    driver.settle()
    error, reply = raw.read()
    assert (error["ok"], error["code"], error["v"]) == (False, 2, VERSION)
    assert error["error"].startswith(words)
    assert len(error["error"]) <= 500
    assert reply == {"ok": True, "did": "status"}


def test_a_line_that_is_too_long_ends_the_connection_after_earlier_requests(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Status())
    sent = 0
    while sent <= MAX_LINE_BYTES:
        sent += raw.fill(b"x" * (MAX_LINE_BYTES + 1 - sent))
        driver.settle()
    raw.fill(b'x\n{"do":"status"}\n')
    driver.settle()
    error = {"ok": False, "error": "a line of more than 1,048,576 bytes", "code": 2, "v": VERSION}
    assert raw.read() == [*did("status"), error]
    assert raw.is_dropped()
    assert driver.clients() == 0


def test_a_line_of_the_maximum_length_is_accepted(driver: ServerDriver) -> None:
    raw = driver.connected()
    line = encode(Show(job="x"))
    line = line.replace(b'"x"', b'"' + b"x" * (MAX_LINE_BYTES - len(line) + 2) + b'"')
    assert len(line) - 1 == MAX_LINE_BYTES
    sender = threading.Thread(target=raw.send, args=(line,))
    sender.start()
    while not driver.asked:
        driver.turn()
    sender.join()
    driver.settle()
    assert did("show") == raw.read()


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"x" * 4_095 + b"\n"], ids=["one line", "lines"])
def test_100_mb_of_garbage_fill_no_memory_and_delay_no_client(driver: ServerDriver, piece: bytes) -> None:
    flood, other = driver.connected(), driver.connected()
    data = piece * (1_000_000 // len(piece))
    sent_bytes = 0
    # What it is told is read by `is_dropped`: nothing but the budget holds it up.
    while sent_bytes < 100_000_000 and not flood.is_dropped():
        sent_bytes += flood.fill(data)
        other.send(Status())
        for _ in range(3):
            driver.turn()
        assert did("status") == other.read()
        held = [client.unread_bytes + len(client.lines._bytes) for client in driver.server._clients.values()]
        assert max(held) <= MAX_LINE_BYTES + READ_BYTES + ENOUGH_UNREAD_BYTES
    is_one_line = b"\n" not in piece
    assert (is_one_line, not is_one_line) == (flood.is_dropped(), sent_bytes >= 100_000_000)


# --- one turn, and those who share it ---


def test_a_turn_handles_a_limited_number_of_requests_and_asks_for_another_turn(driver: ServerDriver) -> None:
    flood, other = driver.connected(), driver.connected()
    flood.send(*[Status()] * 200)
    driver.turn()
    other.send(Status())
    before = len(driver.asked)
    driver.turn()
    assert len(driver.asked) - before <= TURN_REQUESTS
    assert did("status") == other.read()
    assert driver.is_called()
    driver.settle()
    assert len(driver.asked) == 201
    assert not driver.is_called()


def test_a_turn_ends_early_when_the_requests_or_the_replies_are_long(driver: ServerDriver) -> None:
    raws = [driver.connected() for _ in range(8)]
    driver.more = {"text": "x" * (TURN_BYTES // 2)}
    for raw in raws:
        raw.send(Status())
    driver.server.turn(driver.now_ns)
    assert len(driver.asked) == 2
    driver.settle()
    assert len(driver.asked) == 8


def test_an_idle_server_needs_no_turn_and_no_timer(driver: ServerDriver) -> None:
    assert (driver.is_called(), driver.server.next_timer()) == (False, None)
    raw = driver.connected()
    raw.send(Status())
    driver.settle()
    assert not driver.is_called()
    raw.close()
    driver.settle()
    assert (driver.is_called(), driver.server.next_timer(), driver.clients()) == (False, None, 0)


def test_200_clients_at_once_are_all_accepted_and_answered(driver: ServerDriver) -> None:
    raws = [driver.connect() for _ in range(200)]
    for number, raw in enumerate(raws):
        raw.send(Show(job=str(number)), Status())
    driver.settle()
    assert [did("show", "status")] * 200 == [raw.read() for raw in raws]


def test_one_client_too_many_is_refused_until_another_disconnects(driver: ServerDriver) -> None:
    raws = [driver.connect() for _ in range(MAX_CLIENTS)]
    driver.settle()
    late = driver.connected()
    words = "256 clients are connected, which is the maximum: try again later"
    assert late.read() == [{"ok": False, "error": words, "code": 1, "v": VERSION}]
    assert late.is_dropped()
    raws[7].close()
    driver.settle()
    last = driver.connected()
    last.send(Status())
    driver.settle()
    assert did("status") == last.read()


def test_without_a_free_descriptor_clients_wait_and_the_loop_sleeps(
    driver: ServerDriver, caplog: pytest.LogCaptureFixture
) -> None:
    raw = driver.connect()
    raw.send(Status())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    null = os.open(os.devnull, os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (null + 1, hard))
    holes = []
    try:
        with suppress(OSError):
            while True:
                holes.append(os.dup(null))
        driver.server.turn(driver.now_ns)
        driver.server.flush(driver.now_ns)
        at_ns = driver.server.next_timer()
        driver.server.turn(driver.now_ns + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in (null, *holes):
            os.close(fd)
    assert caplog.messages == ["control: no client can be accepted: Too many open files"]
    assert not driver.is_called()
    assert driver.now_ns + 1_000_000_000 == at_ns
    driver.pass_time(1)
    assert did("status") == raw.read()


# --- the silent and the slow ---


def test_half_a_line_and_then_silence_is_dropped_after_30_s(driver: ServerDriver) -> None:
    raw, other = driver.connected(), driver.connected()
    raw.send(b'{"do":')
    driver.settle()
    driver.pass_time(29)
    assert driver.clients() == 2
    raw.send(b" ")
    driver.settle()
    driver.pass_time(29)
    assert driver.clients() == 2
    driver.pass_time(1)
    words = "dropped: silent for too long in the middle of a line"
    assert raw.read() == [{"ok": False, "error": words, "code": 1, "v": VERSION}]
    assert raw.is_dropped()
    assert not other.is_dropped()


def test_a_client_that_asks_nothing_is_dropped_after_10_min(driver: ServerDriver) -> None:
    raw, silent = driver.connected(), driver.connected()
    driver.pass_time(590)
    raw.send(Status())
    driver.settle()
    driver.pass_time(10)
    assert silent.read() == [{"ok": False, "error": "dropped: idle", "code": 1, "v": VERSION}]
    assert did("status") == raw.read()
    driver.pass_time(589)
    assert driver.clients() == 1
    driver.pass_time(1)
    assert driver.clients() == 0


@pytest.mark.parametrize("is_granted", [False, True], ids=["unanswered", "until the run ends"])
def test_a_client_that_waits_is_not_idle(driver: ServerDriver, *, is_granted: bool) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"), b'{"do"')
    driver.settle()
    client = driver.waiting[0]
    if is_granted:
        client.reply({"ok": True, "runs": ["r1"]})
        driver.server.flush(driver.now_ns)
    driver.pass_time(100_000)
    assert driver.server.next_timer() is None
    client.reply({"ok": True, "runs": []}, final=is_granted)
    driver.server.flush(driver.now_ns)
    raw.send(b':"status"}\n')
    driver.settle()
    assert raw.read()[-1]["did"] == "status"
    if is_granted:
        driver.pass_time(599)
        assert driver.clients() == 1
        driver.pass_time(1)
        assert driver.clients() == 0


def test_a_refused_trigger_does_not_wait_for_an_end(tmp_path: Path) -> None:
    class Refusing(ServerDriver):
        def handle(self, request: Request, client: Client) -> None:
            client.refuse("there is no job a", code=4)

    driver = Refusing(tmp_path)
    raw = driver.connected()
    raw.send(TriggerJob(job="a", wait=True))
    driver.settle()
    assert raw.read() == [{"ok": False, "error": "there is no job a", "code": 4}]
    driver.pass_time(600)
    assert raw.is_dropped()
    driver.close()


def test_a_client_that_reads_nothing_has_to_wait_and_is_then_dropped(driver: ServerDriver) -> None:
    mute, other = driver.connected(), driver.connected()
    driver.more = {"text": "x" * 10_000}
    for _ in range(100):
        mute.fill(encode(Status()) * 100)
        driver.settle()
    (held,) = [client.unread_bytes for client in driver.server._clients.values() if client.wants_write]
    assert ENOUGH_UNREAD_BYTES < held < ENOUGH_UNREAD_BYTES + 11_000
    assert len(driver.asked) < 100
    other.send(Status())
    driver.settle()
    assert [reply["did"] for reply in other.read()] == ["status"]
    driver.pass_time(29)
    assert driver.clients() == 2
    driver.pass_time(1)
    assert driver.clients() == 1
    assert mute.is_dropped()
    assert not other.is_dropped()


def test_a_client_with_too_many_ends_of_runs_unread_is_dropped(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"))
    driver.settle()
    client = driver.waiting[0]
    client.reply({"ok": True})
    for _ in range(100):
        assert client.unread_bytes < MAX_UNREAD_BYTES + 200_000
        client.reply({"ok": True, "detail": "x" * 100_000}, final=True)
        driver.server.flush(driver.now_ns)
    assert client.is_closed
    assert raw.is_dropped()
    assert driver.clients() == 0


def test_a_single_reply_may_exceed_the_limit_of_unread_bytes(driver: ServerDriver) -> None:
    raw = driver.connected()
    driver.more = {"text": "x" * (3 * MAX_UNREAD_BYTES)}
    raw.send(ListJobs())
    replies: list[dict[str, object]] = []
    while not replies:
        driver.turn()
        replies = raw.read()
    assert did("list") == [{"ok": reply["ok"], "did": reply["did"]} for reply in replies]


def test_a_client_that_sends_much_and_reads_slowly_gets_every_reply(driver: ServerDriver) -> None:
    raw = driver.connected()
    driver.more = {"text": "x" * 1000}
    unsent = encode(Status()) * 10_000
    count = rounds = 0
    while count < 10_000 and rounds < 1000:
        rounds += 1
        unsent = unsent[raw.fill(unsent) :]
        for _ in range(20):
            driver.turn(1)
        count += len(raw.read())
        if not unsent and count >= 10_000:
            break  # from here on it would be idle
    assert (unsent, count, len(driver.asked)) == (b"", 10_000, 10_000)


# --- long replies, in portions ---


class LongDriver(ServerDriver):
    """A server that lists numbers in portions of a thousand; a driver makes portions when it wants."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        #: How many portions a list has, how many were made of all lists, and what one of them raises.
        self.length = 10
        self.made = 0
        self.errors: dict[int, Exception] = {}

    def handle(self, request: Request, client: Client) -> None:
        if isinstance(request, ListJobs):
            self.asked.append((client, request))
            client.reply_long("jobs", self.portions())
        else:
            super().handle(request, client)

    def portions(self) -> Iterator[list[int]]:
        for number in range(self.length):
            if number in self.errors:
                raise self.errors[number]
            self.made += 1
            yield list(range(number * 1000, number * 1000 + 1000)) if number % 3 != 1 else []

    def make_all(self) -> int:
        """Make portions while there are any to be made, and return how many."""
        count = 0
        while self.server.has_portions:
            self.server.make_portion(self.now_ns)
            count += 1
        return count


@pytest.fixture
def long_driver(tmp_path: Path) -> Iterator[LongDriver]:
    driver = LongDriver(tmp_path)
    yield driver
    driver.close()


def numbers(count: int) -> list[int]:
    return [number for number in range(count * 1000) if number // 1000 % 3 != 1]


def test_a_long_reply_is_one_line_as_any_other_and_in_order_with_them(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(Status(), ListJobs(), Show(job="a"))
    long_driver.settle()
    assert did("status") == raw.read()
    assert long_driver.make_all() == 11
    long_driver.settle()
    assert [*raw.read()] == [{"jobs": numbers(10), "ok": True}, *did("show")]


def test_a_long_reply_of_nothing_is_an_empty_list(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    long_driver.length = 0
    raw.send(ListJobs())
    long_driver.settle()
    long_driver.make_all()
    assert raw.read() == [{"jobs": [], "ok": True}]


def test_nothing_of_a_long_reply_is_made_in_a_turn(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(ListJobs())
    long_driver.settle()
    assert (long_driver.made, long_driver.is_called(), long_driver.server.has_portions) == (0, False, True)


def test_long_replies_take_turns(long_driver: LongDriver) -> None:
    first, second = long_driver.connected(), long_driver.connected()
    first.send(ListJobs())
    long_driver.settle()
    long_driver.server.make_portion(0)
    long_driver.length = 2
    second.send(ListJobs())
    long_driver.settle()
    for _ in range(6):
        long_driver.server.make_portion(0)
    assert (first.read(), second.read()) == ([], [{"jobs": numbers(2), "ok": True}])


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (ZeroDivisionError(), {"error": "internal error; see the scheduler's log", "code": 1}),
        (Refused("no more", 4), {"error": "no more", "code": 4}),
        (Refused("too late", may_repeat=True), {"error": "too late", "code": 1, "again": True}),
    ],
    ids=["broken", "refused", "again"],
)
def test_what_goes_wrong_in_the_middle_of_a_long_reply_is_told_at_its_end(
    long_driver: LongDriver, caplog: pytest.LogCaptureFixture, error: Exception, reply: dict[str, Any]
) -> None:
    raw = long_driver.connected()
    long_driver.errors = {5: error}
    raw.send(ListJobs(), Status())
    long_driver.settle()
    long_driver.make_all()
    long_driver.settle()
    assert raw.read() == [{"jobs": numbers(5), "ok": False, **reply}, *did("status")]
    is_broken = isinstance(error, ZeroDivisionError)
    assert caplog.messages == [f"control: request 'list' of process {os.getpid()} failed"] * is_broken


def test_a_client_that_does_not_read_a_long_reply_holds_neither_memory_nor_the_loop_and_is_dropped(
    long_driver: LongDriver,
) -> None:
    mute, other = long_driver.connected(), long_driver.connected()
    long_driver.length = 1_000_000
    mute.send(ListJobs())
    long_driver.settle()
    assert long_driver.make_all() < 1_000
    assert not long_driver.is_called()
    assert long_driver.server.unread_bytes() < PORTION_UNREAD_BYTES + 10_000
    made, long_driver.length = long_driver.made, 10
    other.send(ListJobs())
    long_driver.settle()
    assert (long_driver.make_all(), other.read()) == (11, [{"jobs": numbers(10), "ok": True}])
    assert long_driver.made == made + 10
    long_driver.pass_time(29)
    assert long_driver.clients() == 2
    long_driver.pass_time(1)
    assert long_driver.clients() == 1
    assert mute.is_dropped()


def test_small_portions_are_sent_together(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(ListJobs())
    long_driver.settle()
    seen = []
    while long_driver.server.has_portions:
        long_driver.server.make_portion(long_driver.now_ns)
        raw.sock.setblocking(False)
        with suppress(BlockingIOError):
            raw.received += raw.sock.recv(1 << 16)
        raw.sock.setblocking(True)
        seen.append(len(raw.received))
    steps = [now - before for before, now in zip([0, *seen], seen, strict=False) if now > before]
    assert all(step >= SENT_BYTES for step in steps[:-1])
    assert 1 < len(steps) < 7  # of the seven portions that are not empty
    assert raw.read() == [{"jobs": numbers(10), "ok": True}]


def test_a_client_that_reads_a_long_reply_slowly_gets_all_of_it(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    long_driver.length = 300
    raw.send(ListJobs())
    long_driver.settle()
    most = rounds = 0
    replies: list[dict[str, Any]] = []
    while not replies:
        long_driver.make_all()
        most = max(most, long_driver.server.unread_bytes())
        raw.received += raw.sock.recv(50_000)
        long_driver.turn(1)
        rounds += 1
        replies = [] if not raw.received.endswith(b"\n") else raw.read()
    assert replies == [{"jobs": numbers(300), "ok": True}]
    assert most < PORTION_UNREAD_BYTES + 10_000
    assert rounds > 10


def test_the_end_of_a_run_that_comes_during_a_long_reply_is_told_after_it(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(Wait(target="a"))
    long_driver.settle()
    client = long_driver.waiting[0]
    client.reply({"ok": True, "runs": ["r1"]})
    long_driver.server.flush(long_driver.now_ns)
    raw.send(ListJobs())
    long_driver.settle()
    long_driver.server.make_portion(long_driver.now_ns)
    client.reply({"ok": True, "state": "succeeded"}, final=True)
    long_driver.server.flush(long_driver.now_ns)
    long_driver.make_all()
    assert raw.read() == [
        {"ok": True, "runs": ["r1"]},
        {"jobs": numbers(10), "ok": True},
        {"ok": True, "state": "succeeded", "final": True},
    ]


def test_a_client_with_too_many_ends_of_runs_behind_a_long_reply_is_dropped(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    long_driver.length = 1_000_000
    raw.send(Wait(target="a"))
    long_driver.settle()
    client = long_driver.waiting[0]
    client.reply({"ok": True})
    raw.send(ListJobs())
    long_driver.settle()
    long_driver.make_all()
    for _ in range(100):
        assert client.unread_bytes < MAX_UNREAD_BYTES + PORTION_UNREAD_BYTES + 200_000
        client.reply({"ok": True, "detail": "x" * 100_000}, final=True)
        long_driver.server.flush(long_driver.now_ns)
    assert client.is_closed
    assert raw.is_dropped()


def test_a_long_reply_ends_with_its_client(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(ListJobs())
    long_driver.settle()
    long_driver.server.make_portion(long_driver.now_ns)
    raw.close()
    long_driver.settle()
    assert (long_driver.make_all() <= 1, long_driver.made, long_driver.clients()) == (True, 1, 0)


def test_a_client_that_closed_its_sending_side_still_gets_a_long_reply(long_driver: LongDriver) -> None:
    raw = long_driver.connected()
    raw.send(ListJobs())
    raw.sock.shutdown(socket.SHUT_WR)
    long_driver.settle()
    long_driver.make_all()
    assert raw.read() == [{"jobs": numbers(10), "ok": True}]
    long_driver.settle()
    assert long_driver.clients() == 0


# --- those who leave ---


def test_a_request_of_a_disconnected_client_is_dropped(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(TriggerJob(job="a"), *[Status()] * 100, encode(Reload())[:-1])
    raw.close()
    driver.settle()
    assert ([request.do for _, request in driver.asked], driver.clients()) == ([], 0)


def test_a_request_of_a_client_that_disconnects_in_the_same_turn_is_dropped(driver: ServerDriver) -> None:
    raws = [driver.connected() for _ in range(4)]
    for raw in raws:
        raw.send(*[TriggerJob(job="a")] * 20)
    driver.turn()
    done = len(driver.asked)
    for raw in raws:
        raw.close()
    driver.settle()
    assert (done, 0) == (len(driver.asked), driver.clients())


def test_a_request_that_is_being_handled_goes_on_after_its_client_disconnects(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"))
    driver.settle()
    raw.close()
    driver.settle()
    client = driver.waiting[0]
    assert (client.is_closed, driver.clients()) == (True, 0)
    client.reply({"ok": True})
    client.reply({"ok": True}, final=True)
    driver.turn()


def test_a_client_that_disconnects_while_waiting_is_dropped_at_once(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"))
    driver.settle()
    raw.close()
    driver.settle()
    assert (driver.waiting[0].is_closed, driver.clients()) == (True, 0)


def test_a_closed_client_is_not_reported_while_a_process_that_is_starting_holds_a_copy(
    driver: ServerDriver,
) -> None:
    first = driver.connected()
    (number,) = driver.server._clients
    copy = os.dup(number)  # between fork and exec another thread's child has one
    try:
        first.close()
        driver.settle()
        second = driver.connected()
        assert list(driver.server._clients) == [number]
        second.send(Status())
        driver.settle()
        assert second.read() == did("status")
    finally:
        os.close(copy)


def test_a_client_that_closed_its_sending_side_still_gets_the_replies(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.send(Wait(target="a"), encode(Status())[:-1])
    raw.sock.shutdown(socket.SHUT_WR)
    driver.settle()
    client = driver.waiting[0]
    client.reply({"ok": True})
    driver.server.flush(driver.now_ns)
    driver.settle()
    assert raw.read() == [{"ok": True}, *did("status")]
    assert driver.clients() == 1
    client.reply({"ok": True}, final=True)
    driver.server.flush(driver.now_ns)
    assert raw.read() == [{"ok": True, "final": True}]
    assert raw.is_dropped()
    assert driver.clients() == 0


def test_a_client_that_closed_its_reading_side_is_dropped(driver: ServerDriver) -> None:
    raw = driver.connected()
    raw.sock.shutdown(socket.SHUT_RD)
    raw.send(Status())
    driver.settle()
    assert (len(driver.asked), driver.clients()) == (1, 0)


# --- the socket itself ---


@pytest.mark.parametrize("umask", [0, 0o077, 0o777], ids=oct)
def test_only_the_owner_has_access_to_the_socket_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        driver = ServerDriver(tmp_path)
    finally:
        os.umask(before)
    status = driver.path.lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    driver.close()


def test_no_command_inherits_a_descriptor(driver: ServerDriver) -> None:
    driver.connected()
    server = driver.server
    sockets = [server._listener.sock, *(client.sock for client in server._clients.values())]
    fds = [server.fileno(), server._more_fd, *(sock.fileno() for sock in sockets)]
    assert [os.get_inheritable(fd) for fd in fds] == [False] * 4


def test_closing_removes_the_socket(tmp_path: Path) -> None:
    driver = ServerDriver(tmp_path)
    driver.close()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_of_a_dead_scheduler_is_replaced(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "taskman.sock"))
    stale.listen()
    stale.close()
    driver = ServerDriver(tmp_path)
    raw = driver.connected()
    raw.send(Status())
    driver.settle()
    assert did("status") == raw.read()
    driver.close()


@pytest.mark.parametrize("backlog", [5, 0], ids=["free", "full"])
def test_a_socket_in_use_is_left_alone(tmp_path: Path, backlog: int) -> None:
    path = tmp_path / "taskman.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(str(path))
        other.listen(backlog)
        waiting.connect(str(path))
        with pytest.raises(TaskmanError) as raised:
            ServerDriver(tmp_path)
        assert str(raised.value) == f"cannot listen on {path}: another program listens there"
        assert path.is_socket()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "taskman.sock"
    if kind == "file":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/log")
    with pytest.raises(TaskmanError) as raised:
        ServerDriver(tmp_path)
    assert (
        str(raised.value)
        == f"cannot listen on {path}: a file that is not a socket is in the way (move it away)"
    )
    assert path.is_symlink() or path.exists()


def test_the_socket_may_be_elsewhere_with_a_link_to_it(tmp_path: Path) -> None:
    state, runtime = tmp_path / "state", tmp_path / "runtime"
    state.mkdir()
    runtime.mkdir()
    for left in ("nothing", "a link to nothing", "a dead socket", "a link to a dead socket"):
        if left == "a link to nothing":
            (state / "taskman.sock").symlink_to(runtime / "taskman.sock")
        elif left != "nothing":
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(str((runtime if "link" in left else state) / "taskman.sock"))
            stale.close()
            if "link" in left:
                (state / "taskman.sock").symlink_to(runtime / "taskman.sock")
        driver = ServerDriver(state, at=runtime / "taskman.sock")
        assert (state / "taskman.sock").readlink() == runtime / "taskman.sock"
        assert stat.S_IMODE((runtime / "taskman.sock").stat().st_mode) == 0o600
        raw = driver.connected()
        raw.send(Status())
        driver.settle()
        assert did("status") == raw.read()
        driver.close()
        assert [*state.iterdir(), *runtime.iterdir()] == [], left


def test_state_and_runtime_directory_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "runtime").symlink_to(tmp_path)
    driver = ServerDriver(tmp_path, at=tmp_path / "runtime" / "taskman.sock")
    assert stat.S_ISSOCK((tmp_path / "taskman.sock").lstat().st_mode)
    driver.close()
    assert [path.name for path in tmp_path.iterdir()] == ["runtime"]


def test_the_link_of_a_dead_scheduler_is_replaced_by_a_socket_and_one_in_use_is_left_alone(
    tmp_path: Path,
) -> None:
    path, elsewhere = tmp_path / "taskman.sock", tmp_path / "elsewhere.sock"
    path.symlink_to(elsewhere)
    ServerDriver(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(elsewhere))
        other.listen()
        path.symlink_to(elsewhere)
        for at in (None, elsewhere):
            with pytest.raises(TaskmanError, match="another program listens there"):
                ServerDriver(tmp_path, at=at)
    assert path.is_symlink()


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        pytest.param(0o700, "", "taskman.sock", id="ours"),
        pytest.param(0o700, "web", "web.sock", id="an instance"),
        pytest.param(0o755, "", None, id="not private"),
        pytest.param(None, "", None, id="not there"),
    ],
)
def test_a_runtime_directory_is_used_only_if_it_is_ours_alone(
    tmp_path: Path, mode: int | None, name: str, expected: str | None
) -> None:
    directory = tmp_path / "runtime"
    if mode is not None:
        directory.mkdir(mode=mode)
    place = runtime_place({"RUNTIME_DIRECTORY": f"{directory}:/run/other"}, name)
    assert place == (None if expected is None else directory / expected)
    assert runtime_place({}, name) is None
    assert runtime_place({"RUNTIME_DIRECTORY": "."}, name) is None


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskmanError) as raised:
        ServerDriver(tmp_path / "none")
    assert str(raised.value) == f"cannot listen on {tmp_path}/none/taskman.sock: No such file or directory"


def test_a_path_that_is_too_long_for_an_address_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120) / ("e" * 200)
    directory.mkdir(parents=True)
    fds = descriptors(os.getpid())
    for _ in range(2):
        driver = ServerDriver(directory)
        raw = driver.connected()
        raw.send(Status())
        driver.settle()
        assert did("status") == raw.read()
        assert stat.S_IMODE(driver.path.lstat().st_mode) == 0o600
        driver.close()
        assert not driver.path.exists()
    assert fds == descriptors(os.getpid())


def test_closing_leaves_the_socket_of_another_alone(tmp_path: Path) -> None:
    driver = ServerDriver(tmp_path)
    driver.path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(driver.path))
        driver.close()
        assert driver.path.is_socket()


def test_closing_when_the_directory_is_gone_is_no_error(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    driver = ServerDriver(directory)
    shutil.rmtree(directory)
    driver.close()


def test_a_client_whose_request_was_not_handled_is_told_to_repeat_it(tmp_path: Path) -> None:
    driver = ServerDriver(tmp_path)
    waiting, idle = driver.connected(), driver.connected()
    waiting.send(Wait(target="a"))
    driver.settle()
    idle.send(Reload())
    late = driver.connect()
    late.send(Reload())
    driver.server.close()
    again = {"ok": False, "error": "the scheduler is exiting: repeat the request", "code": 3, "again": True}
    assert [[], [again], [again]] == [raw.read() for raw in (waiting, idle, late)]
    assert [raw.is_dropped() for raw in (waiting, idle, late)] == [True] * 3
    assert [request.do for _, request in driver.asked] == ["wait"]
    for raw in driver.raws:
        raw.close()


# --- somebody else ---

#: Becomes nobody, asks for something, and prints what it is told.
STRANGER = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
try:
    sock.sendall(b'{"do":"stop"}\\n')
except BrokenPipeError:
    pass
print(sock.recv(4096).decode(), end="")
"""


@is_root
def test_another_user_is_refused_even_where_the_modes_let_them_in() -> None:
    directory = Path(tempfile.mkdtemp())
    driver = ServerDriver(directory)
    try:
        directory.chmod(0o777)
        driver.path.chmod(0o666)
        with subprocess.Popen(
            [sys.executable, "-c", STRANGER, str(driver.path)], stdout=subprocess.PIPE, text=True
        ) as stranger:
            while stranger.poll() is None:
                driver.turn()
            assert stranger.stdout is not None
            words = "this scheduler belongs to uid 0, and you are uid 65534"
            assert stranger.stdout.read() == f'{{"ok":false,"error":"{words}","code":1,"v":1}}\n'
        assert (driver.asked, driver.clients()) == ([], 0)
    finally:
        driver.close()
        directory.rmdir()


@is_root
def test_another_user_cannot_even_connect_to_the_socket_as_it_is_made() -> None:
    directory = Path(tempfile.mkdtemp())
    driver = ServerDriver(directory)
    try:
        directory.chmod(0o777)
        command = [sys.executable, "-c", STRANGER, str(driver.path)]
        stranger = subprocess.run(command, capture_output=True, text=True, check=False)
        assert stranger.stderr.splitlines()[-1] == "PermissionError: [Errno 13] Permission denied"
        assert not driver.is_called()
    finally:
        driver.close()
        directory.rmdir()


@is_root
def test_root_may_use_the_scheduler_of_any_user(tmp_path: Path) -> None:
    driver = ServerDriver(tmp_path, owner_uid=12345)
    raw = driver.connected()
    raw.send(Status())
    driver.settle()
    assert did("status") == raw.read()
    driver.close()
