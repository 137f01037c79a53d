"""Kills and cuts everything around the commands on Dask, and holds what they did against the ledger.

    python tests/e2e/dask_chaos.py [--runs N] [--seed N]

Three workers, each as on a machine of its own: an address, and a directory for its keeper. What is killed:
workers, keepers, Dask's scheduler, our scheduler, our supervisor and the process of the executor; connections
to a worker or to Dask's scheduler are cut by iptables, in a network namespace (`unshare --net`, root only).
Each command appends a line when it begins and one when it ends: that is what really happened.
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
from collections import Counter, defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import network
from dask_cluster import DaskCluster, why_not
from e2e.running import TASKMAN, is_scheduler
from process_table import children, command_line, kill, with_environment
from wait import wait_until

from taskman_cli.core.engine.runs import encode_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A command of which nothing is heard for so long is lost; it is ended by then.
LOST_AFTER_S, ORPHAN_AFTER_S = 9, 6
#: What ends a command that nobody asks for any more may take so much longer: TERM, then KILL.
_SURELY_S = 20
_MARK = "$TASKMAN_RUN_ID $TASKMAN_ATTEMPT"
WORKERS = {"one": "127.0.0.11", "two": "127.0.0.12", "three": "127.0.0.13"}
_JOBS = 20
_OVER = "state NOT IN ('queued', 'running')"
_INSIDE = "TASKMAN_CHAOS_INSIDE"
#: The id of a run, and the number of an attempt.
_Key = tuple[str, int]
#: What is done, and how often beside the others.
FAULTS = {
    "worker": 4, "keeper": 2, "dask scheduler": 2, "scheduler": 3, "supervisor": 2, "executor": 2,
    "cut worker": 3, "cut dask scheduler": 1,
}  # fmt: skip


def jobs(cluster: DaskCluster, runs: int, chance: random.Random) -> str:
    """Return a job file whose jobs have so many runs together, half of them run again when lost."""
    tables = [
        f'[executors.farm]\n{cluster.table}max_workers = 100\nlost_after = "{LOST_AFTER_S}s"\n'
        f'orphan_after = "{ORPHAN_AFTER_S}s"\n'
        '[taskman]\nrestart_delay = "10ms"\nrestart_delay_max = "50ms"\n'
        '[defaults]\nexecutor = "farm"\noverlap = "allow"\non_missed = "all"\n'
        "keep_runs = 100_000\n"
    ]
    for number in range(_JOBS):
        sleep = chance.choice(["", "sleep 0.2", "sleep 0.5", "sleep 1", "sleep 3"])
        rerun = 'on_crash = "rerun"\n' if number % 2 else ""
        command = f"echo begin {_MARK} $$ >> {cluster.directory}/marks; {sleep or ':'}; "
        command += f"echo end {_MARK} >> {cluster.directory}/marks"
        tables.append(
            f'[jobs.j{number}]\nevery = "1s"\n{rerun}max_runs = {runs // _JOBS}\ncommand = "{command}"\n'
        )
    last = f"echo last >> {cluster.directory}/last; sleep 1000; : {cluster.directory}/marks"
    tables.append(f'[jobs.last]\ncron = "0 0 1 1 *"\ncommand = "{last}"\n')
    return "".join(tables)


@dataclass
class Verdict:
    """What came out."""

    runs: int = 0
    states: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    reruns: int = 0
    problems: list[str] = field(default_factory=list)


class Chaos:
    """A cluster, and a `taskman run` that uses it."""

    def __init__(self, directory: Path, *, runs: int, seed: int, can_cut: bool) -> None:
        self.directory = directory
        self._chance = random.Random(seed)
        self._can_cut = can_cut
        self._runs = runs // _JOBS * _JOBS
        self.cluster = DaskCluster(directory)
        #: What is to be healed, and when: by what it is.
        self._healing: dict[str, tuple[float, str]] = {}
        self.faults: Counter[str] = Counter()
        for name in WORKERS:
            self._start_worker(name)
        (directory / "jobs.toml").write_text(jobs(self.cluster, self._runs, self._chance))
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    # --- parts ---

    def _start_worker(self, name: str) -> None:
        """Start a worker, and do not wait for it."""
        place = self.directory / f"machine-{name}"
        place.mkdir(exist_ok=True)
        self.cluster.workers[name] = self.cluster._start(
            name, "dask_worker", self.cluster.address, "--name", name, "--nthreads", "4", "--no-nanny",
            "--host", WORKERS[name], "--local-directory", str(place), TMPDIR=str(place),
        )  # fmt: skip

    def _start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [TASKMAN, "run", "jobs.toml", "--state-dir", "state"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Return the program as it was started last."""
        assert self._process is not None
        return self._process

    def _iptables(self, what: str, how: str) -> None:
        """Cut the connections to a worker, or to Dask's scheduler; or no more."""
        port = self.cluster.address.rpartition(":")[2]
        where = ["-d", WORKERS[what]] if what in WORKERS else ["-p", "tcp", "--dport", port]
        back = ["-s", WORKERS[what]] if what in WORKERS else ["-p", "tcp", "--sport", port]
        for rule in (where, back):
            subprocess.run(["iptables", how, "INPUT", *rule, "-j", "DROP"], check=True)

    # --- faults ---

    def step(self) -> None:
        """Let a moment pass, heal what is due, and do something."""
        time.sleep(self._chance.uniform(0.2, 4))  # the moment of a crash is nobody's choice
        self._heal(time.monotonic())
        if len(self._healing) > 1:  # or nothing would ever get on
            return
        names = [name for name in FAULTS if self._can_cut or not name.startswith("cut")]
        fault = self._chance.choices(names, [FAULTS[name] for name in names])[0]
        # Mostly shorter, and at times longer than what is lost after.
        length_s = self._chance.choice([0.2, 0.5, 1, 1, 2, 2, 4, LOST_AFTER_S + 5])
        now = time.monotonic()
        match fault:
            case "scheduler" | "executor" | "keeper":
                if found := self._ours(fault):
                    kill(self._chance.choice(found), signal.SIGKILL)
                    self.faults[fault] += 1
            case "worker":
                name = self._chance.choice([*WORKERS])
                if name in self.cluster.workers and f"cut {name}" not in self._healing:
                    self.cluster.kill_worker(name)
                    self._note(fault, name, now + length_s)
            case "dask scheduler" if "scheduler" not in self._healing:
                self.cluster.kill_scheduler()
                self._note(fault, "scheduler", now + min(length_s, 4))
            case "supervisor" if "supervisor" not in self._healing:
                self.process.kill()
                self.process.wait()
                self._note(fault, "supervisor", now + length_s)
            case "cut worker" | "cut dask scheduler":
                what = self._chance.choice([*WORKERS]) if fault == "cut worker" else "scheduler"
                if f"cut {what}" not in self._healing and what not in self._healing:
                    self._iptables(what, "-I")
                    self._note(fault, f"cut {what}", now + length_s)

    def _ours(self, what: str) -> list[int]:
        """Return the processes of taskman of a kind."""
        if what == "keeper":
            return sorted(pid for pid in self._processes() if "executors.keeper " in command_line(pid))
        ours = children(self.process.pid)
        if what == "scheduler":
            return [pid for pid in ours if is_scheduler(pid)]
        return [pid for pid in ours if "executors.process" in command_line(pid)]

    def _note(self, fault: str, what: str, until_s: float) -> None:
        self.faults[fault] += 1
        self._healing[what] = until_s, fault

    def _heal(self, until_s: float) -> None:
        for what, (due_s, fault) in [*self._healing.items()]:
            if due_s > until_s:
                continue
            del self._healing[what]
            if fault.startswith("cut"):
                self._iptables(what.removeprefix("cut "), "-D")
            elif fault == "supervisor":
                self._start()
            elif fault == "dask scheduler":
                self.cluster.start_scheduler()
        for name in WORKERS:  # also those that have ended since their scheduler was gone
            process = self.cluster.workers.get(name)
            if name not in self._healing and (process is None or process.poll() is not None):
                self._start_worker(name)

    # --- the end ---

    def play(self) -> None:
        """Do what is done until nearly all runs have ended; then let all be well, and wait for the others."""
        until_s = time.monotonic() + 60 + self._runs / 2
        while self._count(_OVER) < 0.9 * self._runs and time.monotonic() < until_s:
            self.step()
        self._heal(float("inf"))
        if self.process.poll() is not None:
            self._start()
        wait_until(self._is_over, timeout_s=180 + self._runs / 3, what=f"all runs end: {self._states()}")

    def _is_over(self) -> bool:
        self._heal(0)
        return self._count(_OVER) >= self._runs

    def _count(self, condition: str) -> int:
        with suppress(sqlite3.Error), closing(self._ledger()) as ledger:
            return int(ledger.execute(f"SELECT count(*) FROM runs WHERE {condition}").fetchone()[0])
        return 0

    def _states(self) -> dict[str, int]:
        with suppress(sqlite3.Error), closing(self._ledger()) as ledger:
            return dict(ledger.execute("SELECT state, count(*) FROM runs GROUP BY state"))
        return {}

    def _ledger(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.directory}/state/ledger.db?mode=ro", uri=True, timeout=5)

    def abandon(self) -> None:
        """Kill the program while a command runs, and leave the cluster as it is: in the end nothing runs."""
        subprocess.run(
            [TASKMAN, "trigger", "last", "--state-dir", "state"],
            cwd=self.directory, check=True, capture_output=True,
        )  # fmt: skip
        wait_until((self.directory / "last").exists, what="the last command runs")
        self.process.kill()
        self.process.wait()
        began_s = time.monotonic()
        wait_until(
            lambda: not self.commands(), timeout_s=ORPHAN_AFTER_S + _SURELY_S, what="no command is left"
        )
        assert time.monotonic() - began_s > ORPHAN_AFTER_S / 2, "it is ended, and not at once"

    def leave(self) -> None:
        """End all that is left, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            for pid in [*children(self.process.pid), self.process.pid]:
                kill(pid, signal.SIGKILL)
            self.process.wait()
        self.cluster.stop()
        for pid in self._processes():
            kill(pid, signal.SIGKILL)

    def commands(self) -> list[int]:
        """Return the processes of commands, with all that these have started."""
        return self._processes(b"TASKMAN_RUN_ID=")

    def _processes(self, variable: bytes = b"") -> list[int]:
        """Return the processes on the machines of the workers that have a variable."""
        return with_environment(f"TMPDIR={self.directory}/machine-".encode(), variable)

    def check(self) -> Verdict:
        """Compare the marks with the ledger."""
        begins, ends = Counter[_Key](), Counter[_Key]()
        for line in (self.directory / "marks").read_text().splitlines():
            what, run, attempt, *_ = line.split()
            (begins if what == "begin" else ends)[run, int(attempt)] += 1
        with closing(self._ledger()) as ledger:
            rows = ledger.execute("SELECT r.id, j.name, state FROM runs r JOIN job_state j ON j.id = job")
            runs = {encode_run_id(run): (str(job), str(state)) for run, job, state in rows if job != "last"}
            rows = ledger.execute("SELECT run, number, state FROM attempts")
            attempts = {(encode_run_id(run), int(number)): str(state) for run, number, state in rows}
        verdict = Verdict(len(runs), Counter(state for _, state in runs.values()), sum(begins.values()))
        verdict.problems += _wrong_ends(runs, attempts, ends)
        verdict.problems += _wrong_begins(runs, attempts, begins)
        verdict.reruns = len(begins) - len({run for run, _ in begins})
        return verdict


def _wrong_ends(
    runs: dict[str, tuple[str, str]], attempts: dict[_Key, str], ends: Counter[_Key]
) -> Iterator[str]:
    """Yield the runs without a right end on record."""
    for run, (job, state) in runs.items():
        if state in ("queued", "running"):
            yield f"{job} {run} has no end on record: {state}"
        elif state not in ("succeeded", "lost"):
            yield f"{job} {run} is {state}"
    for (run, attempt), state in attempts.items():
        if state == "succeeded" and not ends[run, attempt]:
            yield f"{run} attempt {attempt} is a success, and has not come to its end"


def _wrong_begins(
    runs: dict[str, tuple[str, str]], attempts: dict[_Key, str], begins: Counter[_Key]
) -> Iterator[str]:
    """Yield what was run that should not have been."""
    by_run: dict[str, list[int]] = defaultdict(list)
    for (run, attempt), count in begins.items():
        by_run[run].append(attempt)
        if count > 1:
            yield f"{run} attempt {attempt} was begun {count} times"
        if (run, attempt) not in attempts:
            yield f"{run} attempt {attempt} has begun, and is not on record"
    for run, numbers in by_run.items():
        job, _ = runs.get(run, ("j0", ""))
        before = {attempts.get((run, number)) for number in sorted(numbers)[:-1]}
        if before and int(job.removeprefix("j")) % 2 == 0:
            yield f"{job} {run} was run {len(numbers)} times, and is not to be run again"
        elif before - {"lost"}:
            yield f"{job} {run} was run again after {before}"


def play(directory: Path, *, runs: int, seed: int, can_cut: bool) -> tuple[Verdict, Counter[str]]:
    """Play one seed, and return what came out."""
    chaos = Chaos(directory, runs=runs, seed=seed, can_cut=can_cut)
    try:
        chaos.play()
        chaos.abandon()
        return chaos.check(), chaos.faults
    finally:
        chaos.leave()


def main() -> None:
    """Play one seed, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000)
    options = parser.parse_args()
    if why := why_not():
        print(f"skipped: {why}")
        return
    is_inside = _INSIDE in os.environ
    if not is_inside and (why := network.why_not()):
        print(f"without cuts: {why}")
    elif not is_inside:
        inside = os.environ | {_INSIDE: "1"}
        again = [sys.executable, __file__, "--runs", str(options.runs), "--seed", str(options.seed)]
        os.execvpe("unshare", ["unshare", "--net", *again], inside)
    if is_inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dask-chaos-") as place:
        verdict, faults = play(Path(place), runs=options.runs, seed=options.seed, can_cut=is_inside)
        print(f"seed {options.seed}: {verdict.runs} runs, {dict(verdict.states)}, {verdict.begun} begun,")
        print(f"{verdict.reruns} run again; {dict(faults)}; {time.monotonic() - began_s:.0f} s")
        for problem in verdict.problems:
            print(problem)
    sys.exit(bool(verdict.problems))


if __name__ == "__main__":
    main()
