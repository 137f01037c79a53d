"""Opens damaged ledgers with the scheduler's own parts, and lets it go on with them on a clock of its own.

    python tests/fuzz/opened.py [--seed N] [--seconds N | --cases N] [--only CASE]

Whatever was done to the file, the scheduler comes up: each job has runs, or is paused, and nothing that had
begun before begins again. What only reads says what is wrong in one line.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import random
import shutil
import sys
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.campaign import Campaign, main
from fuzz.damages import damage
from unit.engine_driver import START, make_job, seconds

from taskman_cli.__main__ import main as taskman
from taskman_cli.core import protocol
from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.jobset import visible
from taskman_cli.core.model import Execution, Exit, Overlap, Policy, Retry, Settings, Trigger
from taskman_cli.core.schedule import parse_cron
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.ledger.store import NAME
from taskman_cli.scheduler.handover import open_runs
from taskman_cli.scheduler.heard import Hello, SeenAttempt
from taskman_cli.scheduler.logs.loggers import ROOT as logger
from taskman_cli.scheduler.recorder import Recorder, tell_set_aside, tell_unreadable
from taskman_cli.supervisor.wire import PROTOCOL_VERSION

BOOT = "4a1c1d5e-8a1f-4f6b-9a44-0c6a4c1f7e2b:77"
JOBS = (
    make_job("tick"),
    make_job("often", policy=Policy(max_runs=500)),
    make_job(
        "slow",
        policy=Policy(overlap=Overlap.QUEUE),
        execution=Execution(retry=Retry(max=2, delay_ns=seconds(30))),
    ),
    make_job("nightly", parse_cron("*/7 * * * *", timezone="UTC", name="nightly"), tasks=("one", "two")),
    make_job("held", parse_cron("*/3 * * * *", timezone="UTC", name="held")),
    make_job("left-out"),
)
READERS = (
    ["history", "-n", "50"], ["history", "--json"], ["events", "-n", "50"], ["events", "--json"],
    ["why", "tick"], ["why", "slow", "--json"], ["why", "held"], ["log", "slow"], ["list"], ["status"],
    ["doctor", "--json"], ["list", "--json"], ["log", "tick"], ["show", "tick"], ["status", "tick"],
)  # fmt: skip

#: A case that takes longer hangs, and ends it all with a traceback; most take a tenth of a second.
_HANGS_S = 60.0

Key = tuple[str, int | None]


class World:
    """A scheduler without processes: what is started ends when it is told to."""

    def __init__(
        self, directory: Path, now: Now, *, supervisor: int, seen: tuple[SeenAttempt, ...] = ()
    ) -> None:
        self.now = now
        watched = frozenset(one.run for one in seen if isinstance(one.fate, events.Going))
        self.ledger = Ledger(
            directory, Settings(), supervisor=supervisor, now=now, boot=BOOT, watched=watched
        )
        self.engine = Engine(Settings())
        self.recorder = Recorder(self.engine, self.ledger, tell=lambda _: None, do=self._do)
        #: What was started, by key; and what of that has not ended.
        self.started: dict[str, Key] = {}
        self.going: dict[str, events.Going] = {}
        whole = self.ledger.standing
        tell_set_aside(self.ledger)
        tell_unreadable(self.ledger, self.recorder.note)
        hello = Hello(
            {
                "version": PROTOCOL_VERSION,
                "started_ns": supervisor,
                "scheduler_ended_ns": None,
                "kept": {},
                "attempts": (),
            }
        )
        hello.attempts = seen
        for one in seen:
            assert isinstance(one.fate, events.Going)
            self.going[one.key] = one.fate
        runs, _ = open_runs(
            self.ledger.open_runs, hello, is_same_boot=whole.boot == BOOT, is_ledger_new=self.ledger.is_new,
            now=now, find=lambda _: {}, is_gone=lambda _: True,
        )  # fmt: skip
        jobs = (*JOBS, *self.ledger.once_jobs)
        self.handle(
            events.JobsLoaded(
                visible(jobs, self.ledger.hidden),
                self.ledger.jobs, whole.accounted_ns, 0, whole.last_run, runs, BOOT, supervisor,
                is_new_boot=whole.boot != BOOT, is_new_life=whole.supervisor != supervisor,
                decided=self.ledger.decided,
                hidden=tuple(self.ledger.hidden.values()), set_aside=self.ledger.paused_for(jobs),
                needs=self.ledger.needs,
                rates={name: full.elapsed_ns for name, full in self.ledger.rates.items()},
            )
        )  # fmt: skip

    def handle(self, event: events.Event) -> None:
        self.recorder.take(self.engine.handle_all((event,), self.now))
        self.recorder.settle(self.now)

    def _do(self, action: effects.Action) -> None:
        if isinstance(action, effects.Start):
            assert action.key not in self.started, f"{action.key} is started twice"
            self.started[action.key] = (action.job, action.slot_ns)
            self.going[action.key] = events.Going(4000 + len(self.started), self.now)

    def go(self, span_s: int, chance: random.Random, *, step_s: int = 5) -> None:
        """Let time pass; some of what runs ends."""
        for _ in range(span_s // step_s):
            self.now = Now(self.now.wall_ns + seconds(step_s), self.now.elapsed_ns + seconds(step_s))
            self.handle(events.Tick())
            for key in [key for key in self.going if chance.random() < 0.4]:
                self.handle(events.AttemptStarted(key, self.going[key].pid, self.going[key].started))
                del self.going[key]
                end = Exit(exit_code=int(chance.random() < 0.3), peak_rss_bytes=chance.randrange(1, 1 << 30))
                self.handle(events.AttemptEnded(key, end, self.now))
            while self.ledger.has_chores:
                self.ledger.tidy(self.now.wall_ns)

    def seen(self) -> tuple[SeenAttempt, ...]:
        """Return what a supervisor would tell the next scheduler of what still runs."""
        return tuple(
            SeenAttempt(
                key, run, *self.started[key][:1], task, int(number), self.started[key][1], Trigger.SLOT, fate
            )
            for key, fate in self.going.items()
            for run, task, number in [key.split(".")]
        )


def make_model(directory: Path, chance: random.Random) -> World:
    """Let a scheduler write a ledger in which there is something of everything."""
    world = World(directory, START, supervisor=START.wall_ns)
    world.go(1500, chance)
    for token, request in enumerate(
        (
            protocol.PauseJobs(jobs=["held"], reason="for now"),
            protocol.TriggerJob(job="nightly", env={"DAY": "monday"}),
        )
    ):
        world.handle(events.RequestReceived(token, request, "root"))
    world.recorder.note(effects.JobHidden("left-out", (), is_all=True))
    for name in ("api", "mail"):
        world.recorder.note(effects.RateUsed(name, START.elapsed_ns))
    once = once_job(
        "once-1", "true", at_ns=world.now.wall_ns + seconds(900), timezone="UTC", cwd="/", env={}, umask=0o22
    )
    world.handle(events.OnceRequested(9, once, "root"))
    world.go(500, chance)
    while not world.going:
        world.go(5, chance)
    return world


class Fuzzer:
    """A ledger that was good, and what becomes of damaged copies of it."""

    def __init__(self, campaign: Campaign, directory: Path) -> None:
        self.campaign = campaign
        self.model, self.home = directory / "model", directory / "home"
        self.at_rest = directory / "at-rest"
        self.model.mkdir()
        self.world = make_model(self.model, random.Random(campaign.seed))
        # With its log, as after kill -9; and as after a clean stop.
        shutil.copytree(self.model, directory / "killed")
        self.killed = directory / "killed"
        self.world.ledger.close()
        shutil.copytree(self.model, self.at_rest)

    def play(self, number: int, chance: random.Random) -> None:
        """Damage a copy, and go on with it."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(chance.choice([self.killed, self.at_rest]), self.home)
        faulthandler.dump_traceback_later(_HANGS_S, exit=True)
        what = damage(chance, self.home / NAME)
        if "beside" not in what:  # who reads first lets SQLite forget how long the log was
            self.read(number, chance.choice(READERS), what)
        try:
            self.go_on(number, chance, what)
        except (Exception, EngineBroken) as error:
            # A version to come and a table that is not ours: that is how a file of a newer program looks,
            # or one of another program.
            is_foreign = "by a newer taskman" in str(error) or "of another program" in str(error)
            if not (is_foreign and what == "the_schema and the_schema"):
                self.campaign.fault(number, f"does not come up ({what})", traceback.format_exc(limit=-6))
        self.read(number, chance.choice(READERS), what)
        faulthandler.cancel_dump_traceback_later()

    def go_on(self, number: int, chance: random.Random, what: str) -> None:
        before = self.world
        # With log and index both emptied, the file is a sound ledger of an earlier moment.
        is_earlier = all(_is_empty(self.home / f"{NAME}{suffix}") for suffix in ("-wal", "-shm"))
        now = Now(before.now.wall_ns + seconds(20), before.now.elapsed_ns + seconds(20))
        is_same_life = chance.random() < 0.5
        supervisor = START.wall_ns if is_same_life else now.wall_ns
        world = World(self.home, now, supervisor=supervisor, seen=before.seen() if is_same_life else ())
        try:
            world.go(120, chance)
        finally:
            world.ledger.close()
        if world.recorder.trouble is not None:
            self.campaign.fault(number, f"cannot write ({what})", world.recorder.trouble)
        again = [key for key in world.started if key in before.started]
        if again and not is_earlier:
            self.campaign.fault(number, f"an attempt is started twice ({what})", again)
        runs = {(name, slot): key.split(".")[0] for key, (name, slot) in before.started.items() if slot}
        twice = [key for key, of in world.started.items() if runs.get(of, key[:10]) != key[:10]]
        if twice and not is_earlier:
            self.campaign.fault(number, f"a slot has two runs ({what})", twice)
        known = before.started | world.started
        begun = {known[key][0] for key in (*world.started, *world.going)}
        for name in ("tick",):
            armed = world.engine.timetable.jobs.get(name)
            if name not in begun and not (armed and armed.pause) and name not in world.ledger.hidden:
                self.campaign.fault(number, f"{name} does not run ({what})", armed)

    def read(self, number: int, argv: list[str], what: str) -> None:
        """Let a command read it: no traceback, and one line where something is wrong."""
        out, err = io.StringIO(), io.StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = taskman([*argv, "--state-dir", str(self.home)])
        except Exception:
            self.campaign.fault(number, f"{argv} has a traceback ({what})", traceback.format_exc(limit=-6))
            return
        said = err.getvalue().splitlines()
        if code not in (0, 1, 3, 4) or len(said) > 2 or "rror:" in err.getvalue():
            self.campaign.fault(number, f"{argv} exits with {code} ({what})", said[:5])


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == 0


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk is to be waited for
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", dir=memory, ignore_cleanup_errors=True) as name:
        fuzzer = Fuzzer(campaign, Path(name))
        for number, chance in campaign.chances():
            fuzzer.play(number, chance)


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
