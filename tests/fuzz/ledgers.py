"""Starts the scheduler on ledgers with bytes and values that nobody wrote, and asks the commands about them.

    python tests/fuzz/ledgers.py [--seed N] [--seconds N] [--only CASE]

`run` goes on with it or sets it aside, and its jobs run; or it says why it does not touch the file. What only
reads says what is wrong. There is no traceback, and nobody starts again and again.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.running import Running
from fuzz.campaign import Campaign, main
from fuzz.damages import damage
from fuzz.processes import Call, End, load_modules, run

JOBS = """
[jobs.tick]
every = "200ms"
command = "echo x >> ticks"
[jobs.slow]
every = "300ms"
overlap = "queue"
retry = { max = 1, delay = "50ms" }
command = "sleep 0.1; exit 1"
[jobs.late]
at = 2099-01-01T00:00:00Z
command = "true"
"""
#: Longer than a start and a few runs take, on a machine that has other things to do.
RUN_FOR = "1500ms"
PATIENCE_S = 30.0


class Fuzzer:
    """A state directory that was good, and what becomes of damaged copies of it."""

    def __init__(self, campaign: Campaign, directory: Path) -> None:
        self.campaign = campaign
        self.directory = directory
        self.home = directory / "home"
        self.model = directory / "model"
        self.scratch = directory / "scratch"
        self.scratch.mkdir()

    def fuzz(self) -> None:
        """Play all cases."""
        past = self.directory / "past"
        past.mkdir()
        with Running(past, JOBS, "--no-live", "--for", "2s") as running:
            running.end()
        shutil.copytree(past / "state", self.model, ignore=shutil.ignore_patterns("*.sock"))
        for number, chance in self.campaign.chances():
            self._play(number, chance)

    def _play(self, number: int, chance: random.Random) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        (self.home / "jobs.toml").write_text(JOBS)
        state = self.home / "state"
        shutil.copytree(self.model, state)
        damage(chance, state / "ledger.db")
        commands = [
            ["history"],
            ["events"],
            ["why", "tick"],
            ["log", "slow"],
            ["list"],
            ["doctor"],
            ["status"],
        ]
        commands += [
            ["history", "--json"],
            ["events", "--json"],
            ["why", "slow", "--json"],
            ["check", "jobs.toml"],
        ]
        for argv in chance.sample(commands, 3):
            self._run(number, argv)
        end = self._run(number, ["run", "jobs.toml", "--no-live", "--for", RUN_FOR])
        if end.code not in (0, 1):
            self.campaign.fault(
                number, f"run exits with {end.code}", end.err[-3000:].decode(errors="replace")
            )
        # A job whose state cannot be read is paused, and said to be; it may be any if its name cannot.
        is_paused = b"set aside: the state of" in end.err
        if not (self.home / "ticks").exists() and not is_paused and (end.code == 0 or not end.err):
            self.campaign.fault(number, "no job has run", end.err[-3000:].decode(errors="replace"))
        self._run(number, ["history", "-n", "5"])

    def _run(self, number: int, argv: list[str]) -> End:
        environ = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"}
        call = Call(argv, self.home, environ | {"STATE_DIRECTORY": str(self.home / "state")})
        end = run(call, self.scratch, interrupt_s=PATIENCE_S)
        said = end.err.decode(errors="replace")
        for bad in ("Traceback", "internal error", "the scheduler died"):
            if bad in said:
                self.campaign.fault(number, bad, f"{argv}: {said[-3500:]}")
                break
        if end.late:
            self.campaign.fault(number, f"hangs ({end.late})", f"{argv}: {said[-3000:]}")
        return end


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    load_modules()
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", ignore_cleanup_errors=True) as name:
        Fuzzer(campaign, Path(name)).fuzz()


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
