"""Log lines: their forms, that they are lines, and that nobody waits for whoever reads them."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import contextmanager
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from wait import wait_until

from taskman_cli.core.engine import effects
from taskman_cli.core.model import Exit, State
from taskman_cli.scheduler.logs import handler as handling
from taskman_cli.scheduler.logs import loggers
from taskman_cli.scheduler.logs.fields import FIELDS
from taskman_cli.scheduler.logs.forms import (
    JournalForm,
    JsonFormatter,
    PriorityFormatter,
    TextFormatter,
)
from taskman_cli.scheduler.logs.handler import LineHandler
from taskman_cli.scheduler.logs.loggers import NOTICE, ROOT, logger, run_log, tell
from taskman_cli.scheduler.logs.messages import log_record
from taskman_cli.supervisor.journald import MESSAGE_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: 2026-11-24T04:00:00.25Z
FOUR = 1_795_492_800.25
NASTY = "a\nb\x1b[2Jc\x9b\u202e\udce9"


def finished(state: State = State.FAILED, **options: object) -> effects.AttemptFinished:
    values = {
        "detail": "exit 3",
        "attempt": 1,
        "exit": None,
        "ended_ns": 0,
        "duration_ns": 1_500_000_000,
    } | options
    return effects.AttemptFinished("run", "backup", "main", state=state, **values)  # type: ignore[arg-type]


@pytest.fixture
def handled() -> list[str]:
    return []


def handler_of(write: Callable[[list[str]], None]) -> LineHandler[str]:
    return LineHandler(TextFormatter(UTC), write, lambda: FOUR)


@contextmanager
def shown(handler: LineHandler[Any], level: int = logging.INFO) -> Iterator[None]:
    """Log as the scheduler does, and to nothing else: not to the handlers of pytest either."""
    root = logging.root.handlers
    logging.root.handlers = []
    loggers.use(handler)
    ROOT.setLevel(level)
    try:
        yield
    finally:
        loggers.use(None)
        logging.root.handlers = root
        ROOT.setLevel(logging.NOTSET)
        handler.close()


def record_of(message: str, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    record = logging.LogRecord("taskman.runs", level, "", 0, message, None, None)
    record.created = FOUR
    record.__dict__.update(fields)
    return record


FAILED = "2026-11-24T04:00:00+00:00 error   backup: failed (exit 3) after 1.5s"


def test_an_end_is_a_line_without_a_log_record(handled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "makeRecord", None)
    with shown(handler_of(handled.extend)):
        log_record(finished())
        log_record(finished(detail="a\nb\x1b[2J\udce9"))
    assert handled == [FAILED, FAILED.replace("exit 3", r"a\nb\x1b[2J\xe9")]


def test_an_end_below_the_level_is_no_line(handled: list[str]) -> None:
    with shown(handler_of(handled.extend), NOTICE):
        log_record(finished(State.SUCCEEDED))
    assert handled == []


class Foreign(logging.Handler):
    """A handler of a program that embeds the scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.mark.parametrize("whose", [run_log, ROOT, logging.root], ids=["runs", "taskman", "root"])
def test_a_foreign_handler_gets_a_record_of_each_end(handled: list[str], whose: logging.Logger) -> None:
    foreign = Foreign()
    with shown(handler_of(handled.extend)):
        whose.addHandler(foreign)
        log_record(finished(exit=Exit(3)))
        whose.removeHandler(foreign)
    words = "backup: failed (exit 3) after 1.5s"
    (record,) = foreign.found
    assert (record.getMessage(), record.name, record.__dict__["job"]) == (words, "taskman.runs", "backup")
    assert record.__dict__["exit_code"] == 3
    assert [line.partition(": ")[2] for line in handled] == [words.partition(": ")[2]]


@pytest.mark.parametrize("whose", ["handler", "logger", "taskman"])
def test_a_filter_sees_a_record_of_each_end(handled: list[str], whose: str) -> None:
    def drops(record: logging.LogRecord) -> bool:
        return record.__dict__["job"] != "backup"

    handler = handler_of(handled.extend)
    place: logging.Filterer = {"handler": handler, "logger": run_log}.get(whose, ROOT)
    with shown(handler):
        place.addFilter(drops)
        log_record(finished())
        place.removeFilter(drops)
    assert handled == [] if whose != "taskman" else [FAILED]


def test_without_a_handler_nothing_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logger.error("x")
    assert capsys.readouterr() == ("", "")
    assert [type(handler) for handler in ROOT.handlers] == [logging.NullHandler]


# --- forms ---


@pytest.mark.parametrize(
    ("level", "shown_as"),
    [(logging.DEBUG, "debug  "), (NOTICE, "notice "), (logging.CRITICAL, "critical"), (7, "level 7")],
)
def test_text_has_time_level_and_message(level: int, shown_as: str) -> None:
    form = TextFormatter(timezone(timedelta(hours=1)))
    assert form.format(record_of("x", level)) == f"2026-11-24T05:00:00+01:00 {shown_as} x"


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "\x1b[2m2026-11-24T04:00:00+00:00\x1b[0m info    x"),
        (logging.ERROR, "\x1b[2m2026-11-24T04:00:00+00:00\x1b[0m \x1b[31merror   x\x1b[0m"),
    ],
)
def test_on_a_terminal_what_needs_a_person_has_a_colour(level: int, line: str) -> None:
    assert TextFormatter(UTC, is_colourful=True).format(record_of("x", level)) == line


def test_without_a_zone_it_is_that_of_the_machine() -> None:
    at = TextFormatter().format(record_of("x")).split()[0]
    assert JsonFormatter().format(record_of("x")).startswith(f'{{"time": "{at[:19]}.250{at[19:]}"')


def test_nothing_in_a_message_forges_a_line_or_moves_the_cursor() -> None:
    shown_as = r"a\nb\x1b[2Jc\x9b\u202e\xe9"
    assert TextFormatter(UTC).format(record_of(NASTY)).endswith(f" info    {shown_as}")
    assert TextFormatter(UTC, is_colourful=True).format(record_of(NASTY)).endswith(f" info    {shown_as}")
    journal = PriorityFormatter().format(record_of(NASTY))
    assert journal == "<6>a\n<6>" + shown_as.partition(r"\n")[2]
    line = JsonFormatter(UTC).format(record_of(NASTY, job=NASTY))
    assert (line.isascii(), line.isprintable()) == (True, True)
    assert json.loads(line)["job"] == "a\nb\x1b[2Jc\x9b\u202e\\xe9"
    data = JournalForm().make(FOUR, 20, "taskman.runs", NASTY, {"job": NASTY}).data
    assert b"\x1b" not in data
    assert rb"\x1b[2Jc\x9b\u202e\xe9" in data


def test_a_traceback_cannot_be_taken_for_a_line() -> None:
    try:
        raise ValueError("boom\n2026-11-24T04:00:00+00:00 error   forged\x1b[2J")
    except ValueError as error:
        record = record_of("x", logging.ERROR)
        record.exc_info = (ValueError, error, error.__traceback__)
    first, *rest = TextFormatter(UTC).format(record).split("\n")
    assert first.endswith(" error   x")
    assert [line[:2] for line in rest] == ["  "] * len(rest)
    assert rest[-2:] == ["  ValueError: boom", r"  2026-11-24T04:00:00+00:00 error   forged\x1b[2J"]
    found = json.loads(JsonFormatter(UTC).format(record))
    assert "ValueError: boom\n2026" in found["error"]
    assert all(line.startswith("<3>") for line in PriorityFormatter().format(record).split("\n"))


def test_json_has_each_field_as_what_it_is() -> None:
    line = JsonFormatter(UTC).make(
        FOUR,
        NOTICE,
        "taskman.runs",
        'say "x"',
        {"attempt": 2, "duration_s": 0.123457, "run": None, "job": "ö"},
    )
    assert json.loads(line) == {
        "time": "2026-11-24T04:00:00.250+00:00",
        "level": "notice",
        "part": "runs",
        "message": 'say "x"',
        "attempt": 2,
        "duration_s": 0.123457,
        "run": None,
        "job": "ö",
    }


def test_journald_gets_fields_of_its_own_and_no_time() -> None:
    fields = {"event": "failed", "job": "backup", "exit_code": 3, "detail": "a\nb", "run": None}
    entry = JournalForm().make(FOUR, logging.ERROR, "taskman.runs", "backup: failed", fields)
    assert entry.data == (
        b"MESSAGE=backup: failed\nPRIORITY=3\nSYSLOG_IDENTIFIER=taskman\nTASKMAN_PART=runs\n"
        b"TASKMAN_EVENT=failed\nTASKMAN_JOB=backup\nTASKMAN_EXIT_CODE=3\n"
        b"MESSAGE_ID=" + MESSAGE_IDS["failed"].encode() + b"\n"
        b"TASKMAN_DETAIL\n\x03\0\0\0\0\0\0\0a\nb\n"
    )
    assert entry.plain == "<3>backup: failed"


def test_message_ids_differ_and_fields_can_be_journal_fields() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert [name for name in FIELDS if not name.replace("_", "").isalpha()] == []
    # None may overwrite an attribute of a record: `logging` refuses that.
    assert [name for name in FIELDS if name in record_of("x").__dict__] == []


# --- waiting for a reader ---


def test_lines_come_in_order_and_all_before_the_handler_closes(handled: list[str]) -> None:
    with shown(handler_of(handled.extend)):
        for number in range(100):
            logger.error("line %d", number)
    assert [f"line {number}" for number in range(100)] == [line[34:] for line in handled]


def test_lines_that_are_not_read_are_dropped_counted_and_reported(
    handled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "MAX_WAITING", 5)
    is_open = threading.Event()
    is_writing = threading.Event()

    def write(lines: list[str]) -> None:
        is_writing.set()
        is_open.wait(10)
        handled.extend(lines)

    handler = handler_of(write)
    handler.emit(record_of("first"))
    is_writing.wait(10)
    for _ in range(20):
        handler.emit(record_of("line"))
    waiting = handler.waiting
    assert (waiting.depth, waiting.dropped, waiting.high_water) == (5, 15, 5)
    is_open.set()
    # No further line is needed for the report.
    wait_until(lambda: len(handled) == 7)
    assert [line[34:] for line in handled[:6]] == ["first"] + ["line"] * 5
    assert handled[6].endswith("warning 15 lines dropped: the log was not read fast enough")
    handler.emit(record_of("next"))
    handler.close()
    assert [line[34:] for line in handled[7:]] == ["next"]


def test_what_cannot_be_written_is_counted_and_reported_later(handled: list[str]) -> None:
    troubles: list[Exception] = [BrokenPipeError(), ValueError()]
    written = []

    def write(lines: list[str]) -> None:
        written.append(len(lines))
        if troubles:
            raise troubles.pop()
        handled.extend(lines)

    handler = handler_of(write)
    for number in range(3):
        handler.emit(record_of(f"line {number}"))
        wait_until(lambda: len(written) == number + 1)  # noqa: B023 - waited for at once
    handler.close()
    assert [line[34:] for line in handled] == [
        "2 lines dropped: they could not be written",
        "line 2",
    ]


def test_another_handler_takes_over_without_waiting_for_a_reader(handled: list[str]) -> None:
    is_open = threading.Event()

    def write(lines: list[str]) -> None:
        is_open.wait(10)
        handled.extend(lines)

    handler = handler_of(write)
    handler.emit(record_of("old"))
    handler.retire()
    assert handled == []
    is_open.set()
    wait_until(lambda: len(handled) == 1)


@pytest.mark.usefixtures("no_threads")
def test_lines_wait_for_a_thread_and_without_one_are_written_at_the_end(handled: list[str]) -> None:
    handler = handler_of(handled.extend)
    handler.emit(record_of("line"))
    assert handled == []
    handler.close()
    assert [line[34:] for line in handled] == ["line"]


def test_a_thread_is_tried_again_with_each_line(handled: list[str], no_threads: pytest.MonkeyPatch) -> None:
    handler = handler_of(handled.extend)
    no_threads.undo()
    handler.emit(record_of("line"))
    handler.close()
    assert [line[34:] for line in handled] == ["line"]


def test_a_message_below_the_level_costs_no_line(handled: list[str]) -> None:
    with shown(handler_of(handled.extend)):
        tell(run_log, logging.DEBUG, "x", {})
        tell(run_log, logging.INFO, "y", {})
    assert [line[34:] for line in handled] == ["y"]
