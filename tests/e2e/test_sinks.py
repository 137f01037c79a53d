"""Results reach every sink, whatever the sink does and whatever dies."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from command_line import call
from e2e.receivers import Receiver, receivers
from e2e.running import Running
from process_table import children, command_line
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ok() -> Iterator[Receiver]:
    with receivers("ok") as (receiver,):
        yield receiver


def sink(name: str, url: str, *lines: str) -> str:
    more = "\n".join(lines)
    return f'[sinks.{name}]\ntype = "webhook"\nurl = "{url}"\ndelay = "20ms"\nmax_delay = "200ms"\n{more}\n'


def job(name: str, command: str, *lines: str, every: str = "100ms") -> str:
    more = "\n".join(lines)
    return f"[jobs.{name}]\nevery = '{every}'\ncommand = {json.dumps(command)}\n{more}\n"


def rows(running: Running, query: str) -> list[Any]:
    path = running.directory / "state" / "ledger.db"
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as ledger:
            return ledger.execute(query).fetchall()
    except sqlite3.OperationalError:  # it is being made
        return []


def courier(running: Running) -> int:
    """Return the process of the sinks."""

    def look() -> int | None:
        found = [
            pid
            for pid in children(running.scheduler_pid())
            if "taskman_cli.sinks.process" in command_line(pid)
        ]
        return found[0] if found else None

    return wait_until(look, what="the process of the sinks")


def test_a_failure_and_the_recovery_are_told_with_all_there_is_to_know(tmp_path: Path, ok: Receiver) -> None:
    command = "echo one; printf 'tw\\303o\\377\\n'; test -e well || exit 3"
    jobs = sink("ops", ok.url, "output_lines = 1") + job("bad", command, "sinks = ['ops']")
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: ok.events == [("failed",)], what="a failure")
        running.path("well").touch()
        wait_until(lambda: ok.events == [("failed",), ("recovered",)], what="a recovery")
        failed = ok.arrivals[0].first
        found = [failed[name] for name in ("job", "detail", "exit_code", "count")]
        assert found == ["bad", "exit 3", 3, 1]
        assert failed["output_cut"] is True
        assert len(failed["output"]) == 1
        assert failed["output"][0].startswith("tw")
        assert failed["command"].endswith(failed["run"])
        assert len(rows(running, "SELECT * FROM events WHERE kind = 'recovered'")) == 1


def test_a_stop_and_a_start_are_told_and_a_death_is(tmp_path: Path, ok: Receiver) -> None:
    jobs = sink("ops", ok.url, 'on = ["scheduler_started", "scheduler_stopped", "scheduler_died"]')
    jobs += job("calm", "true", every="1h")
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: ok.events == [("scheduler_started",)], what="a start")
        running.kill_scheduler()
        wait_until(lambda: len(ok.events) == 2, what="a death")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    told = [event for (event,) in ok.events]
    assert told == ["scheduler_started", "scheduler_died", "scheduler_stopped"]
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: len(ok.events) == 4, what="another start")
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: len(ok.events) == 6, what="a death and a start")
    assert [event for (event,) in ok.events][3:] == [
        "scheduler_started",
        "scheduler_died",
        "scheduler_started",
    ]


def test_five_reports_while_the_hook_is_down_all_arrive(tmp_path: Path) -> None:
    with receivers("down") as (down,):
        jobs = sink("ops", down.url, 'on = ["succeeded"]') + job(
            "j", "true", "sinks = ['ops']", "max_runs = 5"
        )
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: len(rows(running, "SELECT 1 FROM reports")) == 5, what="five reports")
            running.wait_for_log("it is tried again")
            running.kill_scheduler()
            down.heal()
            wait_until(lambda: len(down.seqs) == 5, what="all five")
            running.wait_for_log("works again")
        assert len(down.events) == 5


def test_a_digest_is_one_message_and_a_stop_sends_what_has_gathered(tmp_path: Path, ok: Receiver) -> None:
    jobs = sink("ops", ok.url, 'on = ["succeeded"]', 'digest = "1h"')
    jobs += job("j", "true", "sinks = ['ops']", "max_runs = 3")
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: len(rows(running, "SELECT 1 FROM reports")) == 3, what="three reports")
        courier(running)
        assert ok.events == []
        running.send(signal.SIGTERM)
        assert running.end() == 0
    assert ok.events == [("succeeded",) * 3]


def test_what_is_not_delivered_at_a_stop_is_by_the_next_start(tmp_path: Path) -> None:
    with receivers("down") as (down,):
        jobs = sink("ops", down.url) + job("bad", "exit 3", "sinks = ['ops']", "max_runs = 1")
        with Running(tmp_path, jobs, "--no-live") as running:
            running.wait_for_log("it is tried again")
            running.send(signal.SIGTERM)
            assert running.end() == 0
        down.heal()
        with Running(tmp_path, jobs, "--no-live"):
            wait_until(lambda: down.events == [("failed",)], what="the report")


def test_a_process_of_the_sinks_that_dies_or_is_stopped_delays_no_start(tmp_path: Path, ok: Receiver) -> None:
    jobs = sink("ops", ok.url, 'on = ["all"]') + job("j", "date +%s.%N >> starts", "sinks = ['ops']")
    with Running(tmp_path, jobs, "--no-live") as running:
        wait_until(lambda: len(ok.events) > 4, what="reports")
        pid = courier(running)
        os.kill(pid, signal.SIGSTOP)
        before = len(running.lines("starts"))
        running.wait_for("starts", lines=before + 10)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: courier(running) != pid, what="another process")
        seen = len(ok.seqs)
        wait_until(lambda: len(ok.seqs) > seen + 5, what="more reports")
        running.send(signal.SIGTERM)
        assert running.end() == 0
        wanted = [seq for (seq,) in rows(running, "SELECT seq FROM reports ORDER BY seq")]
    assert ok.seqs == wanted


def test_a_reload_adds_and_removes_sinks(tmp_path: Path) -> None:
    with receivers("ok", "ok") as (first, second):
        before = sink("one", first.url, 'on = ["succeeded"]') + job("j", "true", "sinks = ['one']")
        after = sink("two", second.url, 'on = ["succeeded"]') + job("j", "true", "sinks = ['two']")
        with Running(tmp_path, before, "--no-live") as running:
            wait_until(lambda: len(first.events) > 2, what="reports")
            running.path("jobs.toml").write_text(after, "utf-8")
            running.send(signal.SIGHUP)
            wait_until(lambda: len(second.events) > 2, what="reports to the other sink")
            assert rows(running, "SELECT name FROM sinks") == [("two",)]
            assert min(second.seqs) > max(first.seqs)


def test_five_sinks_and_a_scheduler_and_a_program_that_are_killed(tmp_path: Path) -> None:
    manners = ("ok", "slow", "hang", "down", "refuse")
    timeouts = ("30s", "30s", "300ms", "30s", "30s")
    with receivers(*manners) as servers:
        jobs = "".join(
            sink(
                name, server.url, 'on = ["all"]', f'timeout = "{timeout}"', "attempts = 2", "repeat = 'every'"
            )
            for name, server, timeout in zip(manners, servers, timeouts, strict=True)
        )
        names = json.dumps(list(manners))
        jobs += job("a", "true", f"sinks = {names}") + job("b", "exit 1", f"sinks = {names}", every="150ms")
        kills = 0
        for _ in range(2):
            with Running(tmp_path, jobs, "--no-live") as running:
                seen = len(servers[0].seqs)
                wait_until(lambda seen=seen: len(servers[0].seqs) > seen + 15, what="reports")
                running.kill_scheduler()
                seen = len(servers[0].seqs)
                wait_until(lambda seen=seen: len(servers[0].seqs) > seen + 15, what="reports")
                os.kill(running.process.pid, signal.SIGKILL)
                running.process.wait()
                kills += 2
        for server in servers:
            server.heal()
        calm = jobs.replace("every = '100ms'", "every = '1h'").replace("every = '150ms'", "every = '1h'")
        with Running(tmp_path, calm, "--no-live") as running:
            wait_until(
                lambda: (
                    rows(running, "SELECT max(seq) FROM reports")[0][0]
                    == rows(running, "SELECT min(cursor) FROM sinks")[0][0]
                ),
                what="all sinks at the end",
            )
            wanted = {seq for (seq,) in rows(running, "SELECT seq FROM reports")}
            jobs_of = dict(rows(running, "SELECT seq, coalesce(job, '') FROM reports"))
        for server, manner in zip(servers, manners, strict=True):
            assert set(server.seqs) == wanted, manner
            for name in ("a", "b", ""):
                of_job = [seq for seq in server.seqs if jobs_of[seq] == name]
                assert of_job == sorted(of_job), manner
            keys: dict[int, set[str]] = {}
            for arrival in server.arrivals:
                keys.setdefault(arrival.seqs[0], set()).add(arrival.key)
            assert all(len(found) == 1 for found in keys.values())
        twice = len(servers[0].arrivals) - len(wanted)
        assert 0 <= twice <= kills


def test_what_waits_for_a_sink_is_a_metric(tmp_path: Path) -> None:
    with receivers("down") as (down,):
        jobs = sink("ops", down.url, 'on = ["succeeded"]') + job(
            "j", "true", "sinks = ['ops']", "max_runs = 3"
        )
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: len(rows(running, "SELECT 1 FROM reports")) == 3, what="three reports")

            def shown() -> list[str]:
                done = call(["metrics"], env=running.env, text=True, check=True)
                return str(done.stdout).splitlines()

            wait_until(lambda: 'taskman_queue_depth{queue="sink.ops"} 3' in shown(), what="the metric")


STUCK = """
import ctypes

class Sink:
    def __init__(self, definition):
        self.words = definition.settings["words"]

    def deliver(self, message, timeout_s):
        if self.words == "stuck":
            ctypes.CDLL(None).pause()
        if self.words == "broken":
            raise KeyError("a secret")
        return self.words

    def close(self):
        pass
"""


def test_a_type_of_somebody_else_may_hang_in_c_or_raise_and_holds_nobody(
    tmp_path: Path, ok: Receiver
) -> None:
    packages = tmp_path / "packages"
    about = packages / "own-1.dist-info"
    about.mkdir(parents=True)
    (packages / "own.py").write_text(STUCK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[taskman.sinks]\nown = own:Sink\n")
    environ = os.environ | {"PYTHONPATH": str(packages)}
    names = {"fine": "taken", "stuck": "stuck", "broken": "broken"}
    jobs = sink("hook", ok.url, 'on = ["succeeded"]')
    for name, words in names.items():
        jobs += f'[sinks.{name}]\ntype = "own"\nwords = "{words}"\non = ["succeeded"]\ntimeout = "200ms"\n'
        jobs += 'attempts = 2\ndelay = "20ms"\nmax_delay = "50ms"\n'
    jobs += job("j", "true", "sinks = ['hook', 'fine', 'stuck', 'broken']", "max_runs = 5")
    with Running(tmp_path, jobs, "--no-live", environ=environ) as running:
        wait_until(lambda: len(ok.seqs) == 5, what="the reports of others")
        wait_until(lambda: rows(running, "SELECT delivered FROM sinks WHERE name = 'fine'") == [(5,)])
        wait_until(lambda: len(rows(running, "SELECT 1 FROM refused WHERE sink = 'broken'")) == 5)
        assert rows(running, "SELECT why FROM refused LIMIT 1")[0][0].count("KeyError") == 1
        wait_until(
            lambda: "deliveries hang" in str(rows(running, "SELECT error FROM sinks WHERE name = 'stuck'"))
        )
        assert rows(running, "SELECT delivered, cursor FROM sinks WHERE name = 'stuck'")[0][0] == 0
        running.send(signal.SIGTERM)
        assert running.end() == 0
    bad = jobs.replace('type = "own"', 'type = "owm"')
    (tmp_path / "bad.toml").write_text(bad)
    checked = subprocess.run(
        [*running.argv, "check", "bad.toml"], env=running.env, cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 2
    assert '"owm" is not a type of sink (did you mean "own"?)' in checked.stderr + checked.stdout


def test_beyond_keep_the_oldest_go_with_a_line_that_says_so(tmp_path: Path) -> None:
    with receivers("down") as (down,):
        jobs = sink("ops", down.url, 'on = ["succeeded"]', "keep = 3")
        jobs += job("j", "true", "sinks = ['ops']", "max_runs = 8")
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: len(rows(running, "SELECT 1 FROM reports")) == 8, what="eight reports")
            dropped = "SELECT detail FROM events WHERE kind = 'reports_dropped'"
            wait_until(lambda: len(rows(running, dropped)) == 5, what="five dropped")
            assert rows(running, dropped)[0] == ("ops: the oldest 1 report, as more than 3 wait",)
            running.wait_for_log("as more than 3 wait")
            assert running.log.count("as more than 3 wait") == 1  # the journal has them all
            down.heal()
            last = [seq for (seq,) in rows(running, "SELECT seq FROM reports ORDER BY seq")][-3:]
            # One that was under way when it was dropped may come before them.
            wait_until(lambda: down.seqs[-3:] == last, what="the last three")
            assert len(down.seqs) <= 4


def test_a_report_that_is_damaged_is_set_aside_and_the_next_is_delivered(tmp_path: Path) -> None:
    with receivers("down") as (down,):
        jobs = sink("ops", down.url, 'on = ["succeeded"]')
        jobs += job("j", "true", "sinks = ['ops']", "max_runs = 2")
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: len(rows(running, "SELECT 1 FROM reports")) == 2, what="two reports")
            running.send(signal.SIGTERM)
            assert running.end() == 0
        first, second = (seq for (seq,) in rows(running, "SELECT seq FROM reports ORDER BY seq"))
        with closing(sqlite3.connect(tmp_path / "state" / "ledger.db", isolation_level=None)) as ledger:
            ledger.execute("UPDATE reports SET report = '{' WHERE seq = ?", (first,))
        down.heal()
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: down.seqs == [second], what="the other report")
            why = "its row in the ledger could not be read"
            assert rows(running, "SELECT seq, why FROM refused") == [(first, why)]
