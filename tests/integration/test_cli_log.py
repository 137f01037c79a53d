"""`taskman log`: whose output, in which order, while it is written, and when there is none."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from integration.following import TASKMAN, Following
from integration.ledger_builder import SECOND_NS, START_NS, LedgerBuilder

from taskman_cli.__main__ import main
from taskman_cli.cli.support import captured
from taskman_cli.cli.support.captured import CapturedFile, Layout
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.instance.directory import make_state
from taskman_cli.instance.lock import take_lock
from taskman_cli.supervisor.output import BoundedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Log = Callable[..., bytes]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    for name in ("TASKMAN_INSTANCE", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[LedgerBuilder]:
    builder = LedgerBuilder(tmp_path / "state")
    yield builder
    builder.close()


@pytest.fixture
def log(capfdbinary: pytest.CaptureFixture[bytes]) -> Log:
    """Run `taskman log` and return what it printed; nothing may be said beside it."""

    def run(*arguments: str) -> bytes:
        assert main(["log", *arguments]) == 0
        out, err = capfdbinary.readouterr()
        assert err == b""
        return out

    return run


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Following]]:
    """Start a command that follows; taskman runs, and goes away with the lock."""
    started: list[Following] = []
    lock = take_lock(make_state(tmp_path / "state"))

    def start(*arguments: str) -> Following:
        started.append(Following(tmp_path / f"out{len(started)}", "log", "-f", *arguments))
        return started[-1]

    yield start
    for following in started:
        following.close()
    os.close(lock)


def test_following_ends_if_no_scheduler_runs(builder: LedgerBuilder, tmp_path: Path) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "running")
    written(builder, "a", run, b"so far\n")
    following = Following(tmp_path / "out", "log", "-f", "a")
    code, err = following.end()
    assert (code, following.output) == (1, b"so far\n")
    assert f"taskman is not running: its next start will find out how run {run} ended".encode() in err


def written(
    builder: LedgerBuilder, job: str, run: str, text: bytes, *, task: str = "main", number: int = 1
) -> None:
    builder.output_path(job, run, task=task, number=number).write_bytes(text)


def ring(path: Path, data: bytes, *, bound: int) -> BoundedFile:
    """Write an output as a supervisor does, past its bound, and leave it as if that had been killed."""
    file = BoundedFile(str(path), bound)
    file.write(memoryview(data))
    return file


# --- whose output ---


def on_terminal(*arguments: str | Path) -> bytes:
    """Run a command on a terminal, and return what that gets."""
    ours, theirs = os.openpty()
    screen = b""
    with subprocess.Popen([TASKMAN, *arguments], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # it has left
            while data := os.read(ours, 4096):
                screen += data
        assert process.wait(30) == 0
    os.close(ours)
    return screen


def test_a_terminal_gets_the_output_without_what_would_steer_it(builder: LedgerBuilder) -> None:
    run = builder.run("a")
    output = b"\x1b]0;owned\x07caf\xe9 \x1b[31mred\n"
    builder.attempt(run, output_bytes=len(output))
    written(builder, "a", run, output)
    shown = b"\\x1b]0;owned\\x07caf\\xe9 \x1b[31mred\r\n\x1b[0m"
    assert shown == on_terminal("log", "a")
    assert shown == on_terminal("log", "-f", "a")
    assert output.replace(b"\n", b"\r\n") == on_terminal("log", "--raw", "a")


def test_a_terminal_gets_a_crontab_without_what_would_steer_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(
        '[jobs.a]\ncron = "0 1 * * *"\noverlap = "allow"\non_missed = "skip"\ncommand = "x \\u001b[2J"\n'
    )
    screen = on_terminal("export", "--crontab", "--user", path)
    assert b"x \\x1b[2J\r\n" in screen
    assert b"\x1b" not in screen


def test_the_output_of_a_run_comes_byte_by_byte(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("a")
    builder.attempt(run, output_bytes=9)
    written(builder, "a", run, b"\xff\x00caf\xe9\r\nno end")
    for target in (run, "a", "a.main", f"{run}.main"):
        assert log(target) == b"\xff\x00caf\xe9\r\nno end"


def test_of_a_job_it_is_the_latest_run_that_has_begun(builder: LedgerBuilder, log: Log) -> None:
    for at, text in enumerate([b"first", b"second"]):
        run = builder.run("a", at=at)
        builder.attempt(run, at=at)
        written(builder, "a", run, text)
    builder.run("a", "queued", at=5)
    assert log("a") == b"second"


def test_of_a_task_it_is_the_latest_run_that_has_begun_it(builder: LedgerBuilder, log: Log) -> None:
    for at, task in enumerate("xy"):
        run = builder.run("a", at=at)
        builder.attempt(run, at=at, task=task)
        written(builder, "a", run, task.encode(), task=task)
    assert log("a.x") == b"x"


def test_of_several_tasks_each_has_a_header(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("a")
    for at, (task, number) in enumerate([("x", 1), ("y", 1), ("x", 2)]):
        builder.attempt(run, task=task, number=number, at=at)
        written(builder, "a", run, f"{task}{number}\n".encode(), task=task, number=number)
    assert log("a") == b"==> a.x attempt 2 <==\nx2\n\n==> a.y attempt 1 <==\ny1\n"
    assert log(run, "--attempt", "1") == b"==> a.x attempt 1 <==\nx1\n\n==> a.y attempt 1 <==\ny1\n"
    assert log("a.x") == b"x2\n"
    assert log("a.x", "--attempt", "1") == b"x1\n"


def test_a_job_may_be_named_like_a_run(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("67aw64ddpp")
    builder.attempt(run)
    written(builder, "67aw64ddpp", run, b"hello")
    assert log("67aw64ddpp") == b"hello"


# --- when there is none ---


def nothing_begun(builder: LedgerBuilder) -> str:
    return builder.run("a", "queued")


def given_up(builder: LedgerBuilder) -> str:
    return builder.run("a", "cancelled", begun_ns=None, detail="stopped")


def silent(builder: LedgerBuilder) -> str:
    run = builder.run("a")
    builder.attempt(run, output_bytes=0)
    return run


def silent_so_far(builder: LedgerBuilder) -> str:
    run = builder.run("a", "running")
    builder.attempt(run, "running")
    return run


GONE = (
    "a.main, attempt 1 of run {}: the output has been removed, "
    "only that of the latest runs is kept (keep_runs)"
)


def gone(builder: LedgerBuilder) -> str:
    run = builder.run("a")
    builder.attempt(run, output_bytes=7)
    return run


def lost(builder: LedgerBuilder) -> str:
    run = builder.run("a")
    builder.attempt(run, output_bytes=7, output_error="No space left on device: /x")
    return run


def lost_with_a_file(builder: LedgerBuilder) -> str:
    run = lost(builder)
    written(builder, "a", run, b"")
    return run


LOST = "a.main, attempt 1 of run {}: the output was lost: No space left on device: /x"


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (nothing_begun, 0, "run {} of a has not begun yet, so it has no output"),
        (given_up, 0, "run {} of a ended before it began (stopped), so it has no output"),
        (silent, 0, "a.main, attempt 1 of run {}: no output was captured"),
        (silent_so_far, 0, "a.main, attempt 1 of run {}: no output so far"),
        (gone, 1, GONE),
        (lost, 1, LOST),
        (lost_with_a_file, 1, LOST),
    ],
)  # fmt: skip
def test_a_message_says_why_there_is_no_output(
    builder: LedgerBuilder,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[LedgerBuilder], str],
    code: int,
    told: str,
) -> None:
    run = make(builder)
    assert code == main(["log", run])
    assert capsys.readouterr() == ("", f"taskman: {told.format(run)}\n")


@pytest.mark.parametrize("options", [[], ["-f"]], ids=["at once", "followed"])
def test_where_a_part_of_the_output_was_lost_the_rest_is_printed(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    run = lost(builder)
    written(builder, "a", run, b"some\n")
    assert main(["log", *options, "a"]) == 0
    told = LOST.replace("the output was", "part of the output was").format(run)
    assert capsys.readouterr() == ("some\n", f"taskman: {told}\n")


def test_one_output_that_is_gone_does_not_hide_the_others(
    builder: LedgerBuilder, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run = builder.run("a")
    for at, task in enumerate("xy"):
        builder.attempt(run, task=task, at=at, output_bytes=2)
    written(builder, "a", run, b"y\n", task="y")
    assert main(["log", "a"]) == 1
    out, err = capfdbinary.readouterr()
    assert out == b"==> a.y attempt 1 <==\ny\n"
    assert b"a.x, attempt 1" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        pytest.param(["bakcup"], 4, 'and no job "bakcup" (did you mean "backup"?)', id="a typing error"),
        pytest.param(["0000000001"], 4, 'has no run and no job "0000000001" (known: ', id="no such run"),
        pytest.param(["é"], 4, 'has no run and no job "é" (known: ', id="no name at all"),
        pytest.param(["idle"], 4, "idle has not run\n", id="a job that has not run"),
        pytest.param(["backup.mian"], 4, 'started a task "mian" (did you mean "main"?)', id="no such task"),
        pytest.param(["RUN.x"], 4, 'has started no task "x" (known: main)', id="no such task of the run"),
        pytest.param(["backup", "--attempt", "3"], 4, "has no attempt 3; the last was 1", id="attempt"),
        pytest.param(["-f", "backup", "--attempt", "3"], 4, "has no attempt 3", id="attempt, followed"),
        pytest.param(["backup", "--attempt", "0"], 2, '"0" is not a whole number', id="no attempt"),
        pytest.param(["--state-dir", "/nowhere", "x"], 1, "there is no ledger in /nowhere", id="no ledger"),
        pytest.param([], 2, "Missing argument", id="no argument"),
    ],
)  # fmt: skip
def test_an_unknown_name_or_invalid_option_is_an_error_in_one_line(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    run = builder.run("backup")
    builder.attempt(run)
    builder.job("idle")
    assert code == main(["log", *(argument.replace("RUN", run) for argument in arguments)])
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


# --- files that are rings ---


@pytest.mark.parametrize("bound", [0, 1, 2, 7, 100, 101, 4096], ids=str)
@pytest.mark.parametrize("length", [50, 102, 150, 1000, 12_345], ids=str)
def test_a_ring_reads_like_the_file_that_it_will_be_settled_to(
    tmp_path: Path, bound: int, length: int
) -> None:
    path = tmp_path / "out.log"
    data = b"".join(b"line %d\n" % number for number in range(length))[:length]
    file = BoundedFile(str(path), bound)
    for begin in range(0, length, 37):
        file.write(memoryview(data[begin : min(begin + 37, length)]))
    shown = whole(path)
    for _ in file.finish():
        pass
    assert path.read_bytes() == shown
    assert path.read_bytes() == whole(path)


def whole(path: Path) -> bytes:
    file = CapturedFile.open(path)
    assert file is not None
    try:
        return b"".join(iter(file.read, b""))
    finally:
        file.close()


def test_what_a_killed_supervisor_left_is_shown_and_left_alone(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("a", "lost")
    builder.attempt(run, "lost", output_bytes=None)
    path = builder.output_path("a", run)
    ring(path, b"0123456789" * 10, bound=20)
    before = path.read_bytes()
    assert log("a") == b"0123456789\n[taskman: 80 bytes cut]\n0123456789"
    assert before == path.read_bytes()


def test_a_line_that_only_looks_like_a_trailer_is_output(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("a")
    builder.attempt(run)
    text = b"x" * 100 + b"\n[taskman: %020d bytes so far, the tail above is a ring]\n" % 99
    written(builder, "a", run, text)
    assert text == log("a")


@pytest.mark.parametrize("step", [1, 10, 33, 64, 300], ids=str)
def test_reading_beside_the_writer_says_how_much_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(captured, "_SETTLING_S", 0)  # nobody writes while we read
    path = tmp_path / "out.log"
    data = b"".join(b"%05d " % number for number in range(150))
    writer = BoundedFile(str(path), 64)
    writer.write(memoryview(data[:6]))
    reader = CapturedFile.open(path)
    assert reader is not None
    got = [reader.read()]
    for begin, end in pairwise([*range(6, len(data), step), len(data)]):
        writer.write(memoryview(data[begin:end]))
        got += iter(reader.read, b"")
    reader.close()
    kept, position = re.split(rb"\n?\[taskman: ([0-9,]+) bytes cut\]\n", b"".join(got)), 0
    for text, cut in zip(kept[::2], [*kept[1::2], b"0"], strict=True):
        assert data[position : position + len(text)] == text
        position += len(text) + int(cut.replace(b",", b""))
    assert len(data) == position
    # A reader that keeps up loses nothing: so much is kept of the tail.
    assert (step <= 32) == (len(kept) == 1)


def test_what_is_written_over_while_it_is_read_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.log"
    writer = ring(path, b"a" * 30, bound=20)
    reader = CapturedFile.open(path)
    assert reader is not None
    assert reader.read() == b"a" * 10
    late = [memoryview(b"b" * 8)]
    pread = os.pread

    def writes_in_between(fd: int, count: int, offset: int) -> bytes:
        if late and offset < 20:
            writer.write(late.pop())
        return pread(fd, count, offset)

    monkeypatch.setattr(os, "pread", writes_in_between)
    assert b"".join(iter(reader.read, b"")) == b"\n[taskman: 18 bytes cut]\naabbbbbbbb"
    reader.close()


def test_a_file_that_becomes_a_ring_while_it_is_read_loses_its_second_half_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.log"
    writer = BoundedFile(str(path), 20)
    writer.write(memoryview(b"a" * 20))
    reader = CapturedFile.open(path)
    assert reader is not None
    late = [memoryview(b"b" * 15)]
    layout = reader.layout

    def grows() -> Layout:
        found = layout()
        if late:
            writer.write(late.pop())
        return found

    monkeypatch.setattr(reader, "layout", grows)
    assert b"".join(iter(reader.read, b"")) == b"a" * 10 + b"\n[taskman: 15 bytes cut]\n" + b"b" * 10
    reader.close()


# --- following ---


def test_following_prints_what_comes_and_ends_with_the_run(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "running")
    following = follow("a")
    with builder.output_path("a", run).open("ab", buffering=0) as out:
        for text in (b"one\n", b"two\n", b"three"):
            out.write(text)
            following.wait_for(text)
        out.write(b"the end")
    builder.end(run)
    assert following.end() == (0, b"")
    assert following.output == b"one\ntwo\nthreethe end"


def test_following_continues_with_the_next_attempt(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "failed")
    builder.attempt(run, "running", number=2, at=1)
    written(builder, "a", run, b"not this\n")
    written(builder, "a", run, b"second\n", number=2)
    following = follow(run)
    following.wait_for(b"second\n")
    builder.end(run, "failed", number=2, is_last=False)
    builder.attempt(run, "running", number=3, at=2)
    written(builder, "a", run, b"third\n", number=3)
    following.wait_for(b"third\n")
    builder.end(run, number=3)
    assert following.end() == (0, b"")
    assert following.output == b"second\n\n==> a.main attempt 3 <==\nthird\n"


def test_following_several_tasks_says_whose_output_it_is(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    for at, task in enumerate("xy"):
        builder.attempt(run, "running", task=task, at=at)
    following = follow("a")
    written(builder, "a", run, b"x1\n", task="x")
    following.wait_for(b"x1\n")
    written(builder, "a", run, b"y1\n", task="y")
    following.wait_for(b"y1\n")
    written(builder, "a", run, b"x1\nx2\n", task="x")
    following.wait_for(b"x2\n")
    builder.end(run)
    assert following.end()[0] == 0
    assert (
        following.output
        == b"==> a.x attempt 1 <==\nx1\n\n==> a.y attempt 1 <==\ny1\n\n==> a.x attempt 1 <==\nx2\n"
    )


def test_following_one_task_ends_with_its_success_and_one_attempt_with_its_end(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "running", task="x")
    builder.attempt(run, task="y", at=1, output_bytes=2)
    written(builder, "a", run, b"y\n", task="y")
    assert follow("a.y").end() == (0, b"")
    builder.attempt(run, "failed", task="z", at=2, output_bytes=2)
    written(builder, "a", run, b"z\n", task="z")
    one, every = follow("a.z", "--attempt", "1"), follow("a.z")
    assert one.end() == (0, b"")
    every.wait_for(b"z\n")
    assert every.process.poll() is None, "there may be another attempt"
    builder.end_run(run, "failed")
    assert every.end() == (0, b"")


def test_following_a_run_that_waits_begins_when_it_does(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "queued")
    following = follow(run)
    builder.connection.execute("UPDATE runs SET state = 'running', begun_ns = queued_ns")
    builder.attempt(run, "running")
    written(builder, "a", run, b"hello\n")
    following.wait_for(b"hello\n")
    builder.end(run)
    assert following.end() == (0, b"")


def test_following_ends_with_a_run_that_never_began(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "queued")
    following = follow(run)
    builder.connection.execute(
        "UPDATE runs SET state = 'skipped', ended_ns = 1 WHERE id = ?", (decode_run_id(run),)
    )
    code, err = following.end()
    assert (0, f"taskman: run {run} of a ended before it began, so it has no output\n") == (
        code,
        err.decode(),
    )


def test_following_a_ring_to_its_end_though_it_is_settled_meanwhile(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "running")
    path = builder.output_path("a", run)
    file = BoundedFile(str(path), 400)
    file.write(memoryview(b"first\n"))
    following = follow("a")
    following.wait_for(b"first\n")
    for number in range(1, 30):
        line = b"%04d %s\n" % (number, b"." * 94)
        file.write(memoryview(line))
        following.wait_for(line)
    file.write(memoryview(b"last\n"))
    for _ in file.finish():
        pass
    builder.end(run)
    assert following.end() == (0, b"")
    assert [b"first", *(b"%04d %s" % (number, b"." * 94) for number in range(1, 30)), b"last"] == (
        following.output.splitlines()
    )


def test_following_what_is_over_prints_it_and_ends(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("a")
    builder.attempt(run)
    written(builder, "a", run, b"done\n")
    assert log("-f", "a") == b"done\n"


def test_following_ends_on_ctrl_c_and_when_its_reader_leaves(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("a", "running")
    builder.attempt(run, "running")
    written(builder, "a", run, b"hello\n")
    following = follow("a")
    following.wait_for(b"hello\n")
    assert following.interrupt() == 130
    with subprocess.Popen(
        [TASKMAN, "log", "-f", "a"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"hello\n"
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (141, b"")


# --- some lines, some runs ---


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [
        pytest.param(b"a\nb\nc\n", "2", b"b\nc\n", id="the last lines"),
        pytest.param(b"a\nb\nc", "2", b"b\nc", id="without an end of line"),
        pytest.param(b"a\nb\n", "9", b"a\nb\n", id="fewer than asked for"),
        pytest.param(b"a\n\n\n", "2", b"\n\n", id="empty lines"),
        pytest.param(b"a\nb\n", "0", b"", id="none"),
        pytest.param(b"x" * 3_000_000 + b"\nend\n", "1", b"end\n", id="after a long line"),
        pytest.param(b"\xff\n\xfe\n", "1", b"\xfe\n", id="bytes that are not text"),
    ],
)
def test_count_prints_the_last_lines(
    text: bytes, count: str, shown: bytes, builder: LedgerBuilder, log: Log
) -> None:
    run = builder.run("backup")
    builder.attempt(run, output_bytes=len(text))
    builder.output_path("backup", run).write_bytes(text)
    assert log("backup", "-n", count) == shown
    assert log(run, "--count", count) == shown


@given(lines=st.lists(st.binary(max_size=6)), count=st.integers(0, 8), step=st.integers(1, 9))
def test_count_is_what_tail_prints(
    lines: list[bytes], count: int, step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = b"\n".join(lines)
    path = tmp_path_factory.mktemp("tail") / "output"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captured, "_STEP_BYTES", step)
        file = CapturedFile.open(path)
        assert file is not None
        file.skip_to_last(count)
    assert text[file.position :] == b"".join(_last(text, count))
    file.close()


def _last(text: bytes, count: int) -> list[bytes]:
    lines = [line + b"\n" for line in text.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    lines = [line for line in lines if line]
    return lines[-count:] if count else []


def test_count_of_output_that_is_being_cut_is_what_is_kept_of_it(tmp_path: Path) -> None:
    path = tmp_path / "output"
    bounded = BoundedFile(path, 1 << 20)
    for number in range(400_000):
        bounded.write(b"%d\n" % number)
    file = CapturedFile.open(path)
    assert file is not None
    file.skip_to_last(3)
    assert file.read() == b"399997\n399998\n399999\n"
    file.skip_to_last(10_000_000)
    rest = b""
    while data := file.read():
        rest += data
    assert rest.endswith(b"\n399999\n")
    assert 0 < len(rest) <= 1 << 19
    file.close()


def test_count_when_following_is_of_what_is_there_already(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("backup", "running")
    builder.attempt(run, "running")
    path = builder.output_path("backup", run)
    path.write_bytes(b"one\ntwo\nthree\n")
    following = follow("-n", "1", "backup")
    following.wait_for(b"three\n")
    with path.open("ab") as file:
        file.write(b"four\n")
    following.wait_for(b"three\nfour\n")
    assert b"two" not in following.output


def test_since_prints_all_runs_of_a_job_that_were_running_then_or_later(
    builder: LedgerBuilder, log: Log
) -> None:
    runs = {}
    for at, name in ((0, "old"), (100, "long"), (200, "new")):
        runs[name] = run = builder.run("backup", at=at, ended_ns=START_NS + (at + 60) * SECOND_NS)
        builder.attempt(run, at=at, took=60, output_bytes=4)
        builder.output_path("backup", run).write_text(f"{name}\n")
    assert log("backup", "--since", "2026-11-24T04:02:30Z").decode() == (
        f"==> backup.main attempt 1 of run {runs['long']} <==\nlong\n\n"
        f"==> backup.main attempt 1 of run {runs['new']} <==\nnew\n"
    )
    assert log("backup", "--since", "2026-11-24T04:03:00Z") == b"new\n"


def test_since_a_time_after_the_last_run_says_so(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.attempt(builder.run("backup"))
    assert main(["log", "backup", "--since", "2026-11-24T05:00:00Z"]) == 0
    assert capsys.readouterr() == ("", "taskman: backup has not run since 2026-11-24T05:00:00Z\n")
    assert main(["log", "backup", "--since", "soon"]) == 2
    assert capsys.readouterr().err.startswith("taskman: --since: ")


def test_the_beginning_of_a_runs_id_is_enough(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("backup")
    builder.attempt(run, output_bytes=6)
    builder.output_path("backup", run).write_text("hello\n")
    builder.run("backup", at=86_400)
    assert log(run[:6]) == b"hello\n"
    assert log(f"{run[:6]}.main") == b"hello\n"


def test_a_job_with_the_name_of_a_beginning_is_the_job(builder: LedgerBuilder, log: Log) -> None:
    run = builder.run("backup")
    other = builder.run(run[:6], at=86_400)
    builder.attempt(other, output_bytes=3)
    builder.output_path(run[:6], other).write_text("me\n")
    assert log(run[:6]) == b"me\n"


def test_an_ambiguous_beginning_is_refused_with_the_runs(
    builder: LedgerBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [builder.run("backup", at=at) for at in range(12)]
    assert main(["log", runs[0][:4]]) == 2
    err = capsys.readouterr().err
    assert f"{runs[-1]} (backup)" in err
    assert err.count("(backup)") == 8


def test_since_of_a_task_or_an_attempt_leaves_out_the_runs_without_it(
    builder: LedgerBuilder, log: Log, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for at, tasks in ((0, {"db": 2}), (100, {"web": 1}), (200, {"db": 1})):
        run = builder.run("backup", at=at, ended_ns=START_NS + (at + 60) * SECOND_NS)
        for task, attempts in tasks.items():
            for number in range(1, attempts + 1):
                builder.attempt(run, task=task, number=number, at=at, took=1, output_bytes=4)
                path = builder.output_path("backup", run, task=task, number=number)
                path.write_text(f"{task}{number} {at}\n")
    since = ("--since", "2026-11-24T04:00:00Z")
    assert re.findall(rb"^(?:db|web).*$", log("backup.db", *since), re.M) == [b"db2 0", b"db1 200"]
    assert log("backup", "--attempt", "2", *since) == b"db2 0\n"
    assert main(["log", run, *since]) == 2
    assert b"give --since with a job, not with a run" in capfdbinary.readouterr().err


def test_count_does_not_cut_the_output_of_later_attempts(
    builder: LedgerBuilder, follow: Callable[..., Following]
) -> None:
    run = builder.run("backup", "running")
    builder.attempt(run, "failed", number=1, output_bytes=8)
    builder.output_path("backup", run).write_bytes(b"one\ntwo\n")
    following = follow("-n", "1", "backup")
    following.wait_for(b"two\n")
    builder.output_path("backup", run, number=2).write_bytes(b"three\nfour\n")
    builder.attempt(run, "running", number=2)
    following.wait_for(b"three\nfour\n")
