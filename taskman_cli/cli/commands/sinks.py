"""`taskman sinks`: how far each sink has got; a message to try one; reports told again or not at all."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.arguments import since_ns
from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.instance import ledger_of, with_directory
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import column_time, note, say, show, show_rows
from taskman_cli.cli.support.reply_times import document
from taskman_cli.cli.support.scheduler_client import ask
from taskman_cli.core.protocol import ListSinks, ReplaySink, SkipReport, TestSink
from taskman_cli.core.sinks import ReportKind
from taskman_cli.core.timespec import format_rough
from taskman_cli.errors import NoScheduler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

_ACTIONS = {
    "test": "send a message, and say what the other side answers",
    "replay": "tell it again what it was told since --since",
    "skip": "do not tell it of one report",
}
#: After so long without an answer, `test` says what it waits for.
_SLOW_S = 3.0
#: Reports that are set aside, of each sink, that are shown without --json.
_MOST = 5
#: The last event, and the last time, that can be asked for.
_LATEST, _MOST_DIGITS = (1 << 62) - 1, 18


@click.command(
    "sinks",
    cls=Command,
    examples={
        "taskman sinks": "",
        "taskman sinks test ops --event recovered": "",
        "taskman sinks replay ops --since 2h": "",
    },
)
@click.argument("action", metavar="[test|replay|skip]", required=False, type=OneOf(_ACTIONS))
@click.argument("name", metavar="[NAME]", required=False)
@click.argument("seq", metavar="[SEQ]", required=False, type=click.IntRange(1, _LATEST))
@click.option(
    "--event",
    metavar="EVENT",
    type=OneOf([kind.value for kind in ReportKind]),
    help="With test: which event the message tells of. [default: failed]",
)
@click.option("--since", metavar="SEQ|TIME", help="With replay: from this event on, or since this time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_directory
@click.pass_context
def sinks(
    ctx: click.Context,
    *,
    directory: Path,
    action: str | None,
    name: str | None,
    seq: int | None,
    event: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Show how far each sink has got, or try one.

    For each sink: how many reports wait, when the last one was delivered, why deliveries fail, and which
    reports were set aside. `test` sends a message of its own and exits with 1 if it is refused. `replay`
    delivers again what is on record since an event or a time. `skip` gives up a report that waits or was set
    aside; its number is that of the event.
    """
    _check(ctx, action, name, seq, event=event, since=since)
    if action is None:
        _list(directory, as_json=as_json)
        return
    assert name is not None
    if action == "test":
        with _telling_if_slow(name):
            reply = ask(directory, TestSink(sink=name, event=event or ReportKind.FAILED.value))
        words = f"{name}: delivered: {reply['answer']}"
    elif action == "replay":
        assert since is not None
        where = {"since": _seq(since)} if since.isdecimal() else {"since_ns": _since_ns(directory, since)}
        reply = ask(directory, ReplaySink(sink=name, **where))
        count = reply["reports"]
        words = f"{name}: {count:,} report{'' if count == 1 else 's'} will be delivered again"
    else:
        assert seq is not None
        reply = ask(directory, SkipReport(sink=name, seq=seq))
        words = f"{name}: report {seq} is not delivered"
    if as_json:
        show({key: value for key, value in reply.items() if key != "ok"}, (), as_json=True)
    else:
        say(words)


@contextmanager
def _telling_if_slow(name: str) -> Iterator[None]:
    """Say what is waited for if that takes seconds."""
    import threading

    words = f"{name}: no answer yet: waiting for as long as the timeout of the sink; Ctrl-C gives up"
    timer = threading.Timer(_SLOW_S, note, (words,))
    timer.daemon = True
    with suppress(RuntimeError):  # no thread can be started: it is waited for in silence
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check(
    ctx: click.Context,
    action: str | None,
    name: str | None,
    seq: int | None,
    *,
    event: str | None,
    since: str | None,
) -> None:
    """Check which words and options come together."""
    if action is not None and name is None:
        raise click.UsageError(f"name the sink, as in: taskman sinks {action} ops", ctx)
    if action == "skip" and seq is None:
        raise click.UsageError("name the report by the number of its event: `taskman sinks` shows it", ctx)
    if action != "skip" and seq is not None:
        raise click.UsageError("a number is only for skip: give --since to replay", ctx)
    if action == "replay" and since is None:
        raise click.UsageError("say from where, as in: --since 1234 (an event) or --since 2h", ctx)
    if action != "replay" and since is not None:
        raise click.UsageError("--since is only for replay", ctx)
    if action != "test" and event is not None:
        raise click.UsageError("--event is only for test", ctx)


def _seq(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else _LATEST


def _since_ns(directory: Path, since: str) -> int:
    found_ns = since_ns(since, now_ns=time.time_ns(), zone=shown_zone(directory))
    return max(0, min(found_ns, _LATEST))


def _list(directory: Path, *, as_json: bool) -> None:
    is_running = True
    try:
        found = ask(directory, ListSinks())["sinks"]
    except NoScheduler:
        is_running = False
        found = on_record(directory)
    if as_json:
        show(document({"running": is_running, "sinks": found}), (), as_json=True)
        return
    if not is_running:
        note("no scheduler is running: nothing is delivered now")
    if not found:
        note("there is no sink: the job files define none")
        return
    now_ns = time.time_ns()
    zone = shown_zone(directory)
    show_rows((_row(item, now_ns, zone) for item in found), columns=_COLUMNS, right=frozenset({2, 3}))
    for item in found:
        for words in _details(item, now_ns, zone):
            say(words)


_COLUMNS = ("sink", "type", "waiting", "set aside", "last delivery", "")


def on_record(directory: Path) -> list[dict[str, Any]]:
    """Return how the sinks stand, from the ledger."""
    from taskman_cli.ledger.reportqueue import sinks_on_record

    with ledger_of(directory) as ledger:
        return sinks_on_record(ledger)


def _row(item: dict[str, Any], now_ns: int, zone: tzinfo | None) -> tuple[str, ...]:
    last = "never"
    if item["last_ns"] is not None:
        last = column_time(item["last_ns"], now_ns=now_ns, zone=zone)
    state = ""
    if item["failing_ns"] is not None:
        state = f"fails for {format_rough(max(0, now_ns - item['failing_ns']))}"
    return (item["sink"], item["type"] or "", f"{item['waiting']:,}", f"{item['set_aside']:,}", last, state)


def _details(item: dict[str, Any], now_ns: int, zone: tzinfo | None) -> Iterator[str]:
    """Say why deliveries fail, and which reports were set aside."""
    name = item["sink"]
    if item["failing_ns"] is not None:
        yield f"{name}: {item['error']}"
    if item["waiting"] and item["oldest_ns"] is not None:
        at = column_time(item["oldest_ns"], now_ns=now_ns, zone=zone)
        yield f"{name}: the oldest that waits is of {at}"
    refused = item.get("refused", [])
    for row in refused[:_MOST]:
        what = " ".join(word for word in (row["kind"], row["job"]) if word)
        yield f"{name}: set aside: {row['seq']} {what}: {row['why']}"
    if item["set_aside"] > _MOST:
        yield f"{name}: and {item['set_aside'] - _MOST:,} more (--json has them)"
