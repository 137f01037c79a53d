"""Starts the scheduler on ledgers with bytes and values that nobody wrote, and asks the commands about them.

    python tests/fuzz/ledgers.py [--seed N] [--seconds N] [--only CASE]

`run` goes on with it or sets it aside, and its jobs run; or it says why it does not touch the file. What only
reads says what is wrong. There is no traceback, and nobody starts again and again.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.running import Running
from fuzz import odd
from fuzz.campaign import Campaign, main
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


def damage_bytes(chance: random.Random, path: Path) -> None:
    """Change some bytes of a file, or take its end away."""
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 20, 500])):
        # The first page, where the schema is, is met as often as all others together.
        at = chance.randrange(4096 if chance.random() < 0.5 else len(data))
        data[at : at + chance.choice([1, 1, 8])] = chance.randbytes(1)
    if chance.random() < 0.1:
        del data[chance.randrange(len(data)) :]
    path.write_bytes(data)


def damage_values(chance: random.Random, path: Path) -> None:
    """Give some columns of some rows other values of their type."""
    with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for _ in range(chance.choice([1, 1, 5, 30])):
            table = chance.choice(tables)
            columns = ledger.execute(f"PRAGMA table_info({table})").fetchall()
            column, kind = chance.choice([(row[1], row[2]) for row in columns])
            if kind == "TEXT":
                texts = [*odd.TEXTS, "{}", "[]", '{"x": 1}', "{", "2026-01-01", "skip", "running", "queued"]
                raw = chance.choice(texts).encode("utf-8", "surrogateescape") + chance.choice(
                    [b"", b"\xff", b"\0"]
                )
                value: object = f"CAST(X'{raw.hex()}' AS TEXT)"
            elif kind == "REAL":
                value = chance.choice(["1e308", "-1.5", "9e999", "NULL"])
            else:
                value = chance.choice(
                    [0, -1, 1, 2**31, 2**62, 2**63 - 1, -(2**63), "NULL", 1_700_000_000_000_000_000]
                )
            with suppress(sqlite3.Error):  # what the schema does not let anybody write
                ledger.execute(f"UPDATE {table} SET {column} = {value} WHERE random() % 3 = 0")
        if chance.random() < 0.2:
            with suppress(sqlite3.Error):
                ledger.execute(f"DELETE FROM {chance.choice(tables)} WHERE random() % 2 = 0")


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
        chance.choice([damage_bytes, damage_values])(chance, state / "ledger.db")
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
        # A job whose state cannot be read is paused, and said to be.
        is_paused = b"set aside: the state of job tick" in end.err
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
