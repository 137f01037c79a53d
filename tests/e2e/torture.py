"""Kills the real program again and again, and holds what its commands did against what its ledger says.

    python tests/e2e/torture.py [--cycles N] [--seed N]

Jobs of every second append a line for each attempt: that is what really happened. Afterwards each slot must
be one run or one skip in the ledger, no slot may have run twice, and no attempt without a record.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.crashpoints.sitecustomize import HELD, POINTS
from e2e.running import TASKMAN, is_scheduler
from process_table import children, kill, kill_tree
from wait import wait_until

from taskman_cli.core.engine.runs import encode_run_id

SECOND_NS = 1_000_000_000
CRASH_POINTS = Path(__file__).with_name("crashpoints")

_MARK = "echo $TASKMAN_RUN_ID $TASKMAN_TASK $TASKMAN_ATTEMPT ${TASKMAN_SLOT:--} >> marks-$TASKMAN_JOB"
#: What each job says besides its name and `every = "1s"`.
JOBS = {
    "quick": f'command = "{_MARK}"',
    "skip": f'command = "{_MARK}; sleep 1.3"',
    "queue": f'overlap = "queue"\ncommand = "{_MARK}; sleep 0.4"',
    "allow": f'overlap = "allow"\njitter = "700ms"\non_missed = "all"\ncommand = "{_MARK}; sleep 0.6"',
    "replace": f'overlap = "replace"\nkill_timeout = "1s"\ncommand = "{_MARK}; sleep 1.7"',
    "retry": f'overlap = "queue"\nretry = {{ max = 1, delay = "100ms" }}\ncommand = "{_MARK}; exit 1"',
    "rerun": f'on_crash = "rerun"\ncommand = "{_MARK}; sleep 0.2"',
    "tasks": f'mode = "sequence"\ntasks = {{ a = "{_MARK}", b = "{_MARK}; sleep 0.1" }}',
    # Short ones that fill the pool, so that some are asked for early.
    "burst": 'overlap = "queue"\ntasks = {'
    + ", ".join(f"t{number} = {_MARK!r}" for number in range(24))
    + "}",
}
_SETTINGS = """
[taskman]
restart_delay = "10ms"
restart_delay_max = "20ms"
[pool]
max_workers = 6
admission_patience = "100ms"
"""


@dataclass
class Verdict:
    """What came out."""

    slots: int = 0
    runs: int = 0
    skipped: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)


class Torture:
    """A `taskman run` that is killed and started again in one directory."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self._chance = random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None
        #: The scheduler that was killed last.
        self._killed: int | None = None
        self.kills: Counter[str] = Counter()
        self._write("auto" if seed % 2 else "fixed")

    def _write(self, admission: str) -> None:
        jobs = [f'[jobs.{name}]\nevery = "1s"\n{rest}\n' for name, rest in JOBS.items()]
        settings = f'{_SETTINGS}admission = "{admission}"\n'
        (self.directory / "jobs.toml").write_text(settings + "".join(jobs))

    # --- life ---

    def start(self, **environ: str) -> None:
        """Start the program."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [TASKMAN, "run", "jobs.toml", "--state-dir", "state"],
                cwd=self.directory,
                # All jobs have the same slots: they are decided on in several portions.
                env=os.environ | {"TASKMAN_PORTION": "2", "PYTHONPATH": str(CRASH_POINTS)} | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the program as it was started last."""
        assert self._process is not None
        return self._process

    def scheduler(self) -> int | None:
        """Return the pid of the scheduler, if there is one now."""
        pids = [pid for pid in children(self.process.pid) if is_scheduler(pid)]
        return pids[0] if pids else None

    def cycle(self) -> None:
        """Let it live a moment, kill what is due, and see to it that it lives again."""
        time.sleep(self._chance.uniform(0.05, 1.5))  # the moment of a crash is nobody's choice
        what = self._chance.choice(["scheduler", "scheduler", "supervisor", "both"])
        self.kills[what] += 1
        scheduler = self.scheduler()
        if what != "supervisor" and scheduler:
            kill(scheduler, signal.SIGKILL)
            self._killed = scheduler
        if what != "scheduler":
            kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.start()

    def crash_at(self, point: str) -> None:
        """Let it live until it has died at a named point, and start it again."""
        once = self.directory / f"crashed-{point}"
        self.stop()
        once.unlink(missing_ok=True)  # of the round before
        if point == HELD:
            self._write("fixed")  # `auto` asks for none on a busy machine
        count = 1 if point.endswith(("opened", "jobs-loaded")) else self._chance.randint(2, 12)
        self.start(TASKMAN_CRASH_POINT=f"{point}:{count}", TASKMAN_CRASH_ONCE=str(once))
        wait_until(once.exists, timeout_s=30, what=f"the crash at {point}")
        self.kills[point] += 1
        if point.startswith("supervisor."):
            self.process.wait(30)
            self.start()

    def stop(self) -> None:
        """Stop it in good order, once a scheduler is there that was not just killed."""

        def is_there() -> bool:
            return self.scheduler() not in (None, self._killed) or self.process.poll() is not None

        wait_until(is_there, timeout_s=30, what="a start")
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._process:
            kill_tree(self._process.pid)
            self._process.wait()

    # --- verdict ---

    def judge(self) -> Verdict:
        """Hold the marks of the commands against the ledger."""
        verdict = Verdict()
        with closing(sqlite3.connect(self.directory / "state/ledger.db")) as ledger:
            jobs = ledger.execute("SELECT id, name, anchor_ns, definition FROM job_state").fetchall()
            (accounted_ns,) = ledger.execute("SELECT accounted_ns FROM standing").fetchone()
            rows = ledger.execute(
                "SELECT run, attempts.task, number, attempts.state, name FROM attempts"
                " JOIN runs ON runs.id = run JOIN job_state ON job_state.id = job"
            ).fetchall()
            open_attempts = [row for row in rows if row[3] in ("queued", "running")]
            verdict.problems += [f"has no end: {row}" for row in open_attempts]
            verdict.lost = sum(row[3] == "lost" for row in rows)
            known = {(encode_run_id(run), task, str(number)) for run, task, number, _, _ in rows}
            for job_id, name, anchor_ns, _ in jobs:
                self._judge_slots(ledger, job_id, name, anchor_ns, accounted_ns, verdict)
        for _, name, _, _ in jobs:
            self._judge_marks(name, known, verdict)
        return verdict

    def _judge_slots(
        self,
        ledger: sqlite3.Connection,
        job_id: int,
        name: str,
        anchor_ns: int,
        accounted_ns: int,
        verdict: Verdict,
    ) -> None:
        slots: Counter[int] = Counter()
        runs = ledger.execute("SELECT slot_ns FROM runs WHERE job = ? AND slot_ns IS NOT NULL", (job_id,))
        for (slot_ns,) in runs:
            slots[slot_ns] += 1
            verdict.runs += 1
        skips = ledger.execute(
            "SELECT slot_ns, slot_to_ns, count FROM skips WHERE job = ? AND run IS NULL", (job_id,)
        )
        for first_ns, last_ns, count in skips:
            stretch = range(first_ns, last_ns + 1, SECOND_NS)
            if count is None or count > len(stretch):
                verdict.problems.append(f"{name}: {count} slots skipped from {first_ns} to {last_ns}")
            # Of slots that were skipped in a row, those between may have run: with jitter, they come later.
            found = (
                [slot_ns for slot_ns in stretch if not slots[slot_ns]] if count != len(stretch) else stretch
            )
            for slot_ns in list(found)[:count]:
                slots[slot_ns] += 1
                verdict.skipped += 1
        twice = [slot for slot, count in slots.items() if count > 1]
        verdict.problems += [f"{name}: slot {slot} is accounted for twice" for slot in twice]
        jitter_ns = 700_000_000 if name == "allow" else 0
        expected = range(anchor_ns + SECOND_NS, accounted_ns - jitter_ns + 1, SECOND_NS)
        missing = [slot for slot in expected if not slots[slot]]
        verdict.problems += [f"{name}: slot {slot} is not accounted for" for slot in missing]
        verdict.slots += len(expected)

    def _judge_marks(self, name: str, known: set[tuple[str, str, str]], verdict: Verdict) -> None:
        path = self.directory / f"marks-{name}"
        lines = path.read_text().splitlines() if path.exists() else []
        attempts: Counter[tuple[str, str, str]] = Counter()
        runs_of_slot: dict[str, set[str]] = {}
        for line in lines:
            run, task, number, slot = line.split()
            attempts[run, task, number] += 1
            if slot != "-":
                runs_of_slot.setdefault(slot, set()).add(run)
        verdict.problems += [f"{name}: {key} ran twice" for key, count in attempts.items() if count > 1]
        verdict.problems += [f"{name}: {key} has no record" for key in attempts if key not in known]
        verdict.problems += [
            f"{name}: slot {slot} ran twice: {runs}" for slot, runs in runs_of_slot.items() if len(runs) > 1
        ]


def torture(directory: Path, *, cycles: int, seed: int, points: int) -> tuple[Torture, Verdict]:
    """Kill the program so many times at random, and so many times at each named point; judge."""
    run = Torture(directory, seed)
    try:
        run.start()
        for _ in range(cycles):
            run.cycle()
        for _ in range(points):
            for point in POINTS:
                run.crash_at(point)
        run.stop()
        return run, run.judge()
    finally:
        run.end()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cycles", type=int, default=300)
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="taskman-torture-", ignore_cleanup_errors=True) as path:
        run, verdict = torture(
            Path(path), cycles=arguments.cycles, seed=arguments.seed, points=arguments.points
        )
        if verdict.problems:
            print((Path(path) / "log").read_text()[-5000:])
    doubled = sum("twice" in problem for problem in verdict.problems)
    print(
        f"cycles {run.kills.total()}, slots {verdict.slots}, runs {verdict.runs}, skipped {verdict.skipped},"
        f" lost {verdict.lost}, doubled {doubled}"
    )
    for problem in verdict.problems[:50]:
        print(problem)
    return 1 if verdict.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
