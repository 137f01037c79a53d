"""Handlers that raise in the real program: nothing ends it again and again, and all else goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path

import pytest
from e2e.running import TASKMAN, Running
from e2e.test_ledger import ledger
from process_table import is_alive
from wait import wait_until

SITE = Path(__file__).with_name("poisoned")

QUICK = """
    [taskman]
    restart_delay = "10ms"
    restart_delay_max = "20ms"
    [pool]
    admission = "auto"
    resources = { api = { rate = "1000/s", burst = 1000 } }
"""

#: Points that need what this test does not do: a step of the clock, a suspended machine, a killed
#: supervisor, a full disk, a new ledger, a stop, a command that KILL does not end, more commands than CPUs,
#: an executor, a herd of short commands, a sink that is told of begins, more jobs due at once
#: than a portion has. The simulation has them (tests/unit/simulated_poison.py).
ELSEWHERE = {
    "engine.ClockStepped", "engine.Suspended", "engine.OrphanAdopted", "engine.AttemptGone",
    "engine.StartHeld", "engine.StartsReleased", "engine.DrainRequested", "engine.StopRequested",
    "engine.KillRequested", "request.Stop", "handler.Stop", "action.Adopt", "action.Stopped",
    "told.SpawnDelayed", "told.ClockStepNoted", "told.SuspendNoted", "told.AttemptAdopted",
    "record.AttemptWithdrawn", "record.AttemptAdopted", "record.SpawnDelayed", "record.ClockStepNoted",
    "action.Abandon", "told.AttemptStuck", "record.AttemptStuck",
    "told.SurvivorsFound", "record.SurvivorsFound", "record.TargetChanged",
    "record.SuspendNoted", "record.RunsNumbered", "record.JobRezoned", "record.SuccessNoted",
    "message.adopted", "message.gone", "engine.AttemptProgressed", "engine.AttemptUnheard",
    "engine.AttemptUnstoppable",
    "engine.StartReturned", "action.Recall", "record.RunTold", "engine.ExecutorTold", "record.SlotsDecided",
}  # fmt: skip


class Poisoned(Running):
    """A `taskman run` in which handlers raise."""

    def __init__(
        self, directory: Path, jobs: str, points: str, *flags: str, options: str = "", head: str = QUICK
    ) -> None:
        self.marks = directory / "marks.d"
        self.marks.mkdir()
        self.environ = {
            "PYTHONPATH": str(SITE), "TASKMAN_POISON": points, "TASKMAN_POISON_MARKS": str(self.marks)
        } | dict.fromkeys(flags, "1")  # fmt: skip
        super().__init__(directory, head + jobs, *options.split(), environ=os.environ | self.environ)

    def struck(self) -> set[str]:
        """Return the points that have raised."""
        return {path.name for path in self.marks.iterdir() if not path.name.endswith(".there")}

    def points(self) -> set[str]:
        """Return all points that there are."""
        return {path.stem for path in self.marks.iterdir() if path.name.endswith(".there")}

    def strikes(self, point: str) -> int:
        """Return how often a point has raised."""
        path = self.marks / point
        return len(path.read_text().splitlines()) if path.exists() else 0

    def wait_long(self, name: str, *, lines: int = 1) -> list[str]:
        """Wait until a file has that many lines, through the starts of many schedulers."""
        wait_until(lambda: len(self.lines(name)) >= lines, timeout_s=180, what=f"{lines} lines in {name}")
        return self.lines(name)

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a client command."""
        return subprocess.run(
            [TASKMAN, *words, "--state-dir", str(self.directory / "state")],
            cwd=self.directory, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def insist(self, *words: str, tries: int = 12) -> str:
        """Run a client command until it is done, and return what it prints."""
        for _ in range(tries):
            done = self.ask(*words)
            assert "Traceback" not in done.stderr
            if done.returncode == 0:
                return done.stdout
            if "until `taskman restart`" in done.stderr:
                self.ask("restart")
        raise AssertionError(f"{words}: {done.stderr}")


JOBS = """
    [jobs.often]
    every = "200ms"
    overlap = "allow"
    command = "echo $TASKMAN_SLOT >> often"
    [jobs.other]
    every = "1h"
    command = "echo >> other"
    [jobs.finish]
    every = "300ms"
    every_from = "finish"
    max_runs = 100
    command = "echo >> finish; sleep 0.5"
    [jobs.late]
    cron = "* * * * * *"
    overlap = "skip"
    slow_after = "200ms"
    command = "sleep 1.5"
    [jobs.bad]
    every = "700ms"
    command = ["/no/such"]
    max_failures = 2
    [jobs.long]
    every = "1h"
    command = "sleep 60"
    [jobs.two]
    every = "1h"
    resources = { api = 1 }
    [jobs.two.tasks]
    a = "sleep 1"
    b = "true"
"""


#: What people ask for, so that each handler of a request has something to do.
WISHES = (
    ["status"], ["list"], ["show", "other"], ["trigger", "two"], ["trigger", "other"], ["pause", "other"],
    ["resume", "other"], ["once", "--in", "1h", "--name", "later", "true"], ["cancel", "later"],
    ["once", "--wait", "true"], ["remove", "two.a"], ["restore", "two"], ["trigger", "long"],
    ["pause", "long", "--stop"], ["resume", "long"], ["cancel", "long"], ["reload"], ["metrics"],
)  # fmt: skip

SINK = """
    [sinks.out]
    type = "file"
    path = "told"
    on = ["failed"]
"""
#: The same for a sink.
OF_SINKS = (["sinks"], ["sinks", "test", "out"])
#: What is refused where no such report is on record, once the handler has raised.
OF_REPORTS = {
    "handler.ReplaySink": ("sinks", "replay", "out", "--since", "1h"),
    "handler.SkipReport": ("sinks", "skip", "out", "1"),
}


@pytest.mark.timeout(900)  # each end costs the start of another scheduler
def test_each_handler_raises_once_and_all_is_well(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:  # side by side: each waits for commands and slots most of the time
        kinds = ("engine", "request|handler", "action|record|told|message")
        list(pool.map(raise_once_each, repeat(tmp_path), kinds))


def is_struck_by(running: Poisoned, point: str, words: tuple[str, ...]) -> bool:
    """Run a client command, and tell whether a point has raised."""
    running.ask(*words)
    return point in running.struck()


def raise_once_each(tmp_path: Path, kinds: str) -> None:
    """Let each handler of some tables raise once in one `taskman run`."""
    points = rf"({kinds})\.(?!Stop$|StopRequested$|KillRequested$|Stopped$).*"
    directory = tmp_path / kinds.replace("|", "-")
    directory.mkdir()
    is_asked = kinds == "request|handler"
    with Poisoned(directory, JOBS + SINK * is_asked, points) as running:
        running.wait_long("often", lines=3)
        for words in WISHES if "|" in kinds else (["trigger", "two"], ["once", "true"]):
            running.insist(*words)
        running.insist("wait", "late")
        if is_asked:
            for words in OF_SINKS:
                running.insist(*words)
            for point, words in OF_REPORTS.items():
                wait_until(partial(is_struck_by, running, point, words), what=point)
        expected = {point for point in running.points() - ELSEWHERE if re.fullmatch(points, point)}
        jobs = running.path("jobs.toml")

        def is_all() -> bool:
            """Try the gate again, and what cannot start: each may be done without by now."""
            number = len(running.lines("jobs.toml"))
            with jobs.open("a") as file:
                file.write(f'\n[jobs.again{number}]\nevery = "1h"\ncommand = "true"\n')
            running.insist("reload")
            running.insist("resume", "bad")
            if "engine.GateTried" in expected - running.struck():  # a restart has tried it: do without it
                (running.marks / "engine.SignalsRead").unlink(missing_ok=True)
                with suppress(AssertionError):
                    wait_until(lambda: running.strikes("engine.SignalsRead"), timeout_s=5)
                return False
            with suppress(AssertionError):
                wait_until(lambda: expected <= running.struck(), timeout_s=2)
            return expected <= running.struck()

        try:
            wait_until(is_all, timeout_s=120)
        except AssertionError:
            raise AssertionError(f"not struck: {sorted(expected - running.struck())}") from None
        for job in json.loads(running.insist("list", "--json")):
            running.insist("resume", job["job"])
        running.wait_long("often", lines=len(running.lines("often")) + 5)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        marks = running.lines("often")
        assert sorted(set(marks)) == sorted(marks), "nothing runs twice"
    log = running.log
    assert f"\n{'':2}Traceback (most recent call last):\n{'':4}File" in log
    assert "set_aside" in ledger(directory, "SELECT DISTINCT kind FROM events") or kinds == "request|handler"
    assert ledger(directory, "SELECT id FROM runs WHERE state = 'running'") == []
    ran = ledger(
        directory, "SELECT slot_ns FROM runs JOIN job_state ON job_state.id = job WHERE name = 'often'"
    )
    assert sorted(set(ran)) == sorted(ran), "no slot has two runs"


ALWAYS = "TASKMAN_POISON_ALWAYS"


def test_a_scheduler_that_can_do_nothing_is_no_tight_loop_and_stops(tmp_path: Path) -> None:
    with Poisoned(tmp_path, JOBS.replace("200ms", "10ms"), "engine.Tick", ALWAYS) as running:
        running.path("jobs.toml")
        wait_until(lambda: running.strikes("engine.Tick") >= 3, timeout_s=60, what="three ends")
        running.send(signal.SIGTERM)
        assert running.end() in (0, 1)


def test_what_fails_for_no_job_alone_costs_growing_pauses_and_no_command(tmp_path: Path) -> None:
    jobs = """
        [jobs.often]
        every = "10ms"
        command = "true"
        [jobs.long]
        every = "1h"
        run_on_start = true
        command = "echo $$ > pid; while :; do echo >> beats; sleep 0.05; done"
    """
    with Poisoned(tmp_path, jobs, "engine.Tick", ALWAYS, head="") as running:
        [pid] = running.wait_long("pid")
        wait_until(lambda: running.log.count("starting it again") >= 5, timeout_s=90, what="five ends")
        running.wait_long("beats", lines=len(running.lines("beats")) + 3)
        assert is_alive(int(pid))
        pauses = [float(pause) for pause in re.findall(r"starting it again in ([\d.]+) s", running.log)]
        assert sorted(pauses) == pauses  # it doubles, unless the machine is so busy that one lived for long
        assert pauses[4] > pauses[0]
        assert "set aside" not in running.log
        running.send(signal.SIGTERM)
        assert running.end() in (0, 1)
        assert not is_alive(int(pid))
    assert ledger(
        tmp_path,
        "SELECT count(*) FROM attempts JOIN runs ON runs.id = run"
        " JOIN job_state ON job_state.id = job WHERE name = 'long'",
    ) == [1]


@pytest.mark.parametrize("stop", ["TERM", "command"])
@pytest.mark.parametrize("flags", [[], [ALWAYS]], ids=["once", "always"])
def test_a_stop_that_raises_is_done_by_another_scheduler_or_by_the_supervisor(
    tmp_path: Path, stop: str, flags: list[str]
) -> None:
    jobs = '[jobs.long]\nevery = "1h"\nrun_on_start = true\ncommand = "echo $$ > pid; exec sleep 60"'
    points = "engine.StopRequested|request.Stop"
    with Poisoned(tmp_path, jobs, points, *flags) as running:
        [pid] = running.wait_long("pid")
        if stop == "TERM":
            running.send(signal.SIGTERM)
        else:
            running.ask("stop")
        # Another scheduler is told of it as a signal. If that raises, the supervisor stops alone.
        is_done = stop == "TERM" and not flags
        assert running.end() == (0 if is_done else 1)
        assert not is_alive(int(pid))
        expected = {"engine.StopRequested"} | ({"request.Stop"} if stop == "command" else set())
        assert expected == running.struck()
    assert ledger(tmp_path, "SELECT state FROM attempts") == (["cancelled"] if is_done else ["running"])


def test_an_end_that_raises_each_time_is_lost_and_the_rest_goes_on(tmp_path: Path) -> None:
    jobs = """
        [jobs.often]
        every = "100ms"
        command = "echo >> often"
        [jobs.once]
        every = "1h"
        run_on_start = true
        command = "exit 3"
    """
    with Poisoned(tmp_path, jobs, "engine.AttemptEnded") as running:
        running.wait_long("often", lines=5)
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert running.log.count("starting it again") == 1
    [(state, detail)] = ledger(tmp_path, "SELECT state, detail FROM attempts WHERE state = 'lost'")
    assert (state, detail.startswith("it crashed the scheduler (RuntimeError: a fault in")) == ("lost", True)
    assert len(ledger(tmp_path, "SELECT seq FROM events WHERE kind = 'set_aside'")) == 1


@pytest.mark.parametrize("point", ["SignalsRead", "MemoryMeasured"])
def test_a_gate_that_raises_each_time_is_done_without_until_a_reload(tmp_path: Path, point: str) -> None:
    jobs = """
        [jobs.often]
        every = "500ms"
        command = "echo >> often; sleep 0.4"
    """
    point = f"engine.{point}"
    with Poisoned(tmp_path, jobs, point, ALWAYS) as running:

        def wait_for_deaths(count: int) -> None:
            wait_until(lambda: running.strikes(point) == count, what=f"{running.strikes(point)} deaths")
            running.wait_long("often", lines=len(running.lines("often")) + 4)
            assert (running.strikes(point), running.log.count("starting it again")) == (count, count)

        wait_for_deaths(1)
        told = f'set aside: the gate of admission = "auto": RuntimeError: a fault in {point}'
        assert told in running.log
        assert "until a reload or `taskman restart`, commands start as with" in running.log
        status = json.loads(running.insist("status", "--json"))
        assert [row["what"] for row in status["set_aside"]] == ['the gate of admission = "auto"']
        assert (status["admission"], status["max_workers"]) == ("fixed", 64)
        assert 'the gate of admission = "auto"' in " ".join(running.ask("doctor").stdout.split())
        [detail] = ledger(tmp_path, "SELECT detail FROM events WHERE kind = 'set_aside'")
        assert detail.startswith('the gate of admission = "auto": RuntimeError')
        jobs_file = running.path("jobs.toml")
        jobs_file.write_text(jobs_file.read_text().replace("0.4", "0.3"))
        running.insist("reload")
        wait_for_deaths(2)
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_a_request_that_raises_each_time_is_refused_from_then_on(tmp_path: Path) -> None:
    jobs = '[jobs.often]\nevery = "100ms"\ncommand = "echo >> often"'
    with Poisoned(tmp_path, jobs, "request.PauseJobs", ALWAYS) as running:
        running.wait_long("often")
        first = running.ask("pause", "often")
        assert (first.returncode, "the scheduler crashed on this request" in first.stderr) == (1, True)
        second = running.ask("pause", "often")
        assert (second.returncode, "a scheduler crashed on this" in second.stderr) == (1, True)
        assert running.strikes("request.PauseJobs") == 1
        running.insist("restart")
        wait_until(lambda: "restarting the scheduler" in running.log, what="another scheduler")
        running.insist("status")  # a request that meets no scheduler is not refused by one
        third = running.ask("pause", "often")
        assert (third.returncode, "the scheduler crashed on this request" in third.stderr) == (1, True)
        running.insist("status")  # a stop that meets no scheduler is another
        running.send(signal.SIGTERM)
        assert running.end() == 0


def test_a_request_that_schedulers_die_of_without_a_word_is_refused_after_the_third(tmp_path: Path) -> None:
    flags = ("TASKMAN_POISON_ALWAYS", "TASKMAN_POISON_KILL")
    jobs = (
        '[jobs.other]\nevery = "1h"\ncommand = "true"\n[jobs.often]\nevery = "1s"\ncommand = "echo >> often"'
    )
    with Poisoned(tmp_path, jobs, "request.TriggerJob", *flags) as running:
        running.wait_long("often")
        for deaths in (1, 2, 3):
            assert running.ask("trigger", "other").returncode != 0
            assert running.strikes("request.TriggerJob") == deaths
            wait_until(lambda: running.ask("status").returncode == 0, timeout_s=60, what="the next scheduler")
        refused = running.ask("trigger", "other")
        assert "3 schedulers in a row were killed while handling it" in refused.stderr
        assert refused.returncode == 1
        assert running.strikes("request.TriggerJob") == 3
        assert "a request (trigger)" in running.ask("status").stdout
        running.wait_long("often", lines=len(running.lines("often")) + 2)
