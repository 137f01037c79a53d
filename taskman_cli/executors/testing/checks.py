"""The checks of the conformance suite: each has an executor of its own, on an event loop of its own."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from taskman_cli.executors.base import (
    Absent,
    ConnectionLost,
    Ended,
    Result,
    Running,
    StartFailed,
    Unknown,
)
from taskman_cli.executors.testing import acts
from taskman_cli.executors.testing.bench import Bench, Failure, Traces, processes_with

if TYPE_CHECKING:
    from taskman_cli.executors.base import Executor, Order, Standing
    from taskman_cli.executors.testing.acts import Say

#: How long each step may take.
TIMEOUT_S = 30.0
_MUCH_BYTES = 5_000_000
_AT_ONCE = 12
_ALL_BYTES = bytes(range(256))
_UNICODE = "naïve café ☕ 日本語 \U0001d54f \U0001f469\u200d\U0001f467"
#: Values that break those who put them into a command line.
_ODD_VALUES: Mapping[str, str] = {
    "CONFORM_PLAIN": "value",
    "CONFORM_EMPTY": "",
    "CONFORM_UNICODE": _UNICODE,
    "CONFORM_QUOTES": '\'; echo "$HOME" `id` $(id) \\ \'"',
    "CONFORM_BLANKS": "  a\tb  ",
    "CONFORM_OPTION": "--help",
    "CONFORM_BYTES": b"caf\xe9 \xff".decode("utf-8", "surrogateescape"),
}
_LINES = "first\nsecond\n\nlast"
_NOT_LONG_S = 0.5
_PAUSE_S = 0.02
#: Takes a while, for a shell.
_SLOW = acts.Act("echo ready; sleep 2; echo more; exit 7", "")


async def _exit_codes(bench: Bench) -> None:
    codes = (0, 1, 3, 126, 255)
    for code, (result, _) in zip(codes, await bench.run_each(map(acts.exit_with, codes)), strict=True):
        _expect(result.exit_code, code, "the exit code")
        _expect(result.signal, None, f"the signal after exit {code}")


async def _signals(bench: Bench) -> None:
    numbers = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
    for number, (result, _) in zip(numbers, await bench.run_each(map(acts.die_of, numbers)), strict=True):
        _expect((result.exit_code, result.signal), (None, int(number)), "exit code and signal")


async def _output(bench: Bench) -> None:
    texts = (b"", b"no end of line", _ALL_BYTES, b"\n\n\n", _UNICODE.encode(), b"\xff\xfe\x80\r\n")
    for data, (_, output) in zip(texts, await bench.run_each(map(acts.write, texts)), strict=True):
        _expect(output, data, "the output")
    _, output = await bench.run(acts.write_both())
    _expect(sorted(output.split()), [b"1", b"2", b"3", b"4"], "standard output and error together, sorted")


async def _huge_output(bench: Bench) -> None:
    result, output = await bench.run(acts.write_much(_MUCH_BYTES))
    _expect(result.exit_code, 0, "the exit code")
    _expect(len(output), _MUCH_BYTES, "the length of the output")
    _expect(output.count(b"x"), _MUCH_BYTES, "what of the output is right")


async def _live_output(bench: Bench) -> None:
    attempt = await bench.begin_ready(acts.wait())
    _expect_failed(await bench.kill(attempt), "after KILL")


async def _environment(bench: Bench) -> None:
    told = await bench.run_each(map(acts.tell_variable, _ODD_VALUES), env=_ODD_VALUES)
    for (name, value), (result, output) in zip(_ODD_VALUES.items(), told, strict=True):
        _expect((result.exit_code, output), (0, value.encode("utf-8", "surrogateescape")), f"${name}")


async def _environment_of_several_lines(bench: Bench) -> None:
    _, output = await bench.run(acts.tell_variable("CONFORM_LINES"), env={"CONFORM_LINES": _LINES})
    _expect(output, _LINES.encode(), "a variable of several lines")


async def _odd_commands(bench: Bench) -> None:
    texts = (_UNICODE, "'\"\\ $HOME `id`", _LINES, _ODD_VALUES["CONFORM_BYTES"], "-n", "%s %d\\n")
    for text, (_, output) in zip(texts, await bench.run_each(map(acts.tell_text, texts)), strict=True):
        _expect(output, text.encode("utf-8", "surrogateescape"), "a text in the command")


async def _stdin(bench: Bench) -> None:
    for data in (b"one line\n", _ALL_BYTES * 1000, b""):
        result, output = await bench.run(acts.copy_input(), stdin=data)
        _expect(
            (result.exit_code, output == data), (0, True), f"{len(data)} bytes of standard input came back"
        )
    _, output = await bench.run(acts.copy_input())
    _expect(output, b"", "standard input, if there is none")


async def _missing_program(bench: Bench) -> None:
    attempt = bench.begin(acts.be_missing())
    outcome = await attempt.outcome(bench.timeout_s)
    if isinstance(outcome, StartFailed):
        _expect_words(str(outcome))
    elif isinstance(outcome, Result):
        _expect_failed(outcome, "without its program")
    else:
        raise Failure(f"what it did was neither a result nor StartFailed: {outcome!r}")


async def _term(bench: Bench) -> None:
    attempt = await bench.begin_ready(acts.wait())
    await bench.signal(attempt, signal.SIGTERM)
    _expect_failed(await attempt.end(bench.timeout_s), "after TERM")


async def _ladder(bench: Bench) -> None:
    attempt = await bench.begin_ready(acts.ignore_term())
    await bench.signal(attempt, signal.SIGTERM)
    assert attempt.task is not None
    done, _ = await asyncio.wait({attempt.task}, timeout=_NOT_LONG_S)
    if done:
        raise Failure("TERM ended what ignores it")
    _expect_failed(await bench.kill(attempt), "after KILL")


async def _kill_ends_all(bench: Bench) -> None:
    with _marked() as mark:
        attempt = await bench.begin_ready(acts.have_child(mark))
        await bench.until(
            lambda: bool(processes_with(mark)),
            "its process on this machine: if it is on another, leave this check out",
        )
        await bench.kill(attempt)
        await _all_gone(bench, mark, "one that was killed")


async def _cancelled_in_each_state(bench: Bench) -> None:
    for pause_s in (0.0, 0.001, 0.01, 0.05, 0.3):
        with _marked() as mark:
            attempt = bench.begin(acts.have_child(mark))
            assert attempt.task is not None
            await asyncio.sleep(pause_s)
            attempt.task.cancel()
            await attempt.outcome(bench.timeout_s)
            await _all_gone(bench, mark, f"one given up after {pause_s:g} s")


async def _killed_in_each_state(bench: Bench) -> None:
    attempt = bench.begin(acts.wait())
    await bench.until(lambda: attempt.work.is_started, "its start")
    _expect_failed(await bench.kill(attempt), "killed right after its start")
    flooding = await bench.begin_ready(acts.write_always())
    _expect_failed(await bench.kill(flooding), "killed amid its output")
    twice = await bench.begin_ready(acts.wait())
    await asyncio.gather(*(bench.signal(twice, number) for number in (15, 9, 9)))
    _expect_failed(await twice.end(bench.timeout_s), "killed twice")
    for number in (15, 9):
        await bench.signal(twice, number)  # it is over: that is no error


async def _many_at_once(bench: Bench) -> None:
    attempts = [bench.begin(acts.write(f"{number}".encode())) for number in range(_AT_ONCE)]
    failing = bench.begin(acts.be_missing())
    for number, attempt in enumerate(attempts):
        _expect((await attempt.end(bench.timeout_s)).exit_code, 0, "the exit code of one of many")
        _expect(bytes(attempt.output), f"{number}".encode(), "the output of one of many")
    await failing.outcome(bench.timeout_s)


async def _unknown_handle(bench: Bench) -> None:
    order = bench.order(acts.wait())
    standing = await asyncio.wait_for(bench.executor.probe(order), bench.timeout_s)
    if not isinstance(standing, Absent):
        raise Failure(f"an attempt that never was is {standing!r}, not Absent")
    await asyncio.wait_for(bench.executor.forget(order), bench.timeout_s)


async def _doctor(bench: Bench) -> None:
    findings = await asyncio.wait_for(bench.executor.check(), bench.timeout_s)
    for finding in findings:
        _expect_words(finding.words)
        if not finding.is_good:
            raise Failure(f"`check` finds fault with what the tests have: {finding.words}")


async def _closed_while_it_runs(bench: Bench) -> None:
    with _marked() as mark:
        attempt = await bench.begin_ready(acts.have_child(mark))
        await asyncio.wait_for(bench.executor.close(), bench.timeout_s)
        await _all_gone(bench, mark, "what ran when it was closed")
    assert attempt.task is not None
    attempt.task.cancel()
    outcome = await attempt.outcome(bench.timeout_s)
    if isinstance(outcome, Result):
        _expect_failed(outcome, "after it was closed")


async def _found_again(bench: Bench) -> None:
    order = bench.order(_SLOW)
    attempt = bench.begin_order(order)
    await bench.until(lambda: b"ready" in attempt.output, "its first output")
    standing = await _standing(bench, order)
    if not isinstance(standing, Running):
        raise Failure(f"an attempt that runs is {standing!r}")
    result = await attempt.end(bench.timeout_s)
    _expect((result.exit_code, bytes(attempt.output)), (7, b"ready\nmore\n"), "exit code and output")
    await bench.executor.forget(order)
    standing = await _standing(bench, order)
    if isinstance(standing, Running):
        raise Failure("an attempt that is over and forgotten is still said to run")


async def _lost_connection(bench: Bench) -> None:
    order = bench.order(_SLOW)
    attempt = bench.begin_order(order)
    await bench.until(lambda: b"ready" in attempt.output, "its first output")
    assert bench.sever is not None
    bench.sever(bench.executor)
    outcome = await attempt.outcome(bench.timeout_s)
    if not isinstance(outcome, ConnectionLost):
        raise Failure(f"the connection was cut, and that was told as {outcome!r}, not as ConnectionLost")
    until = time.monotonic() + bench.timeout_s
    while isinstance(standing := await _standing(bench, order), Unknown):
        if time.monotonic() > until:
            raise Failure(f"the connection is back, and how the attempt stands is not known: {standing.why}")
        await asyncio.sleep(_PAUSE_S)
    output = bytes(attempt.output)
    if isinstance(standing, Running):
        again = bench.begin_order(order, attach=True)
        result = await again.end(bench.timeout_s)
        output += bytes(again.output)
    elif isinstance(standing, Ended):
        result = standing.result
    else:
        raise Failure(f"the attempt goes on, and is {standing!r}")
    _expect((result.exit_code, output), (7, b"ready\nmore\n"), "exit code and output")
    await bench.executor.forget(order)


async def _standing(bench: Bench, order: Order) -> Standing:
    return await asyncio.wait_for(bench.executor.probe(order), bench.timeout_s)


Check = Callable[[Bench], Awaitable[None]]
#: The checks by name.
CHECKS: Mapping[str, Check] = {
    "exit codes": _exit_codes,
    "signals": _signals,
    "output": _output,
    "huge output": _huge_output,
    "live output": _live_output,
    "environment": _environment,
    "environment of several lines": _environment_of_several_lines,
    "odd commands": _odd_commands,
    "stdin": _stdin,
    "missing program": _missing_program,
    "TERM": _term,
    "TERM, then KILL": _ladder,
    "KILL ends all": _kill_ends_all,
    "cancelled in each state": _cancelled_in_each_state,
    "killed in each state": _killed_in_each_state,
    "many at once": _many_at_once,
    "unknown handle": _unknown_handle,
    "doctor": _doctor,
    "closed while it runs": _closed_while_it_runs,
}
#: Only for those that find an attempt again (`finds_again`).
LASTING: Mapping[str, Check] = {"found again": _found_again}
#: Only with a way to cut the connection (`sever`).
FAR: Mapping[str, Check] = {"lost connection": _lost_connection}


def check(
    make: Callable[[], Executor],
    *,
    say: Say,
    finds_again: bool = False,
    sever: Callable[[Executor], None] | None = None,
    without: Collection[str] = (),
    only: Collection[str] = (),
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Put an executor through all checks, except those of `without`; `only`: just these.

    `make` is called for each. `finds_again`: it keeps attempts beyond its own process. `sever` cuts the
    connections of an executor, as a network does. Raises AssertionError with all that is wrong.
    """
    if strange := {*without, *only} - {**CHECKS, **LASTING, **FAR}.keys():
        raise ValueError(f"no such check: {', '.join(sorted(strange))}")
    wrong = []
    chosen = {**CHECKS, **(LASTING if finds_again else {}), **(FAR if sever is not None else {})}
    for name, one in chosen.items():
        if name in without or (only and name not in only):
            continue
        try:
            _run(one, make, partial(Bench, say=say, timeout_s=timeout_s, sever=sever), timeout_s)
        except Exception as error:  # each check is reported, whatever it raised
            words = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            wrong.append(f"{name}: {words}")
    if wrong:
        raise AssertionError("\n".join(wrong))


def _run(
    one: Check, make: Callable[[], Executor], bench: Callable[[Executor], Bench], timeout_s: float
) -> None:
    """Run one check, and compare what is open before and after."""
    traces = Traces()
    asyncio.run(_on_loop(one, make, bench, timeout_s))
    until = time.monotonic() + timeout_s
    while left := traces.left():
        if time.monotonic() > until:
            raise Failure(f"it leaves behind: {left}")
        time.sleep(_PAUSE_S)


async def _on_loop(
    one: Check, make: Callable[[], Executor], bench: Callable[[Executor], Bench], timeout_s: float
) -> None:
    executor = make()
    try:
        await one(bench(executor))
    finally:
        await asyncio.wait_for(executor.close(), timeout_s)
    own = asyncio.current_task()
    until = time.monotonic() + timeout_s
    while left := [task for task in asyncio.all_tasks() if task is not own and not task.done()]:
        if time.monotonic() > until:
            raise Failure(f"tasks go on after `close`: {left}")
        await asyncio.sleep(_PAUSE_S)


@contextmanager
def _marked() -> Iterator[int]:
    """Give a number of seconds that no other process has as an argument; whoever has it then is killed."""
    mark = random.randrange(100_000_000, 999_999_999)  # noqa: S311 - no secret
    try:
        yield mark
    finally:
        for pid in processes_with(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def _all_gone(bench: Bench, mark: int, whose: str) -> None:
    await bench.until(lambda: not processes_with(mark), f"the end of all processes of {whose}")


def _expect(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise Failure(f"{what} is {_short(actual)}, not {_short(expected)}")


def _expect_failed(result: Result, when: str) -> None:
    if result.exit_code == 0 or (result.exit_code is None and result.signal is None and not result.error):
        raise Failure(f"{when}, it is not said to have failed: {result}")


def _expect_words(words: str) -> None:
    if not words or not words.isprintable():
        raise Failure(f"{words!r} is not one line of printable text")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
