"""Has `taskman salvage` bring back what it can of damaged ledgers, and looks at what it brought.

    python tests/fuzz/salvaged.py [--seed N] [--seconds N | --cases N] [--only CASE]

It ends within seconds, with a code and in words; the new ledger opens; its rows are rows that there were; and
where the code is 0, none is missing. A file that nothing can be read of leaves no new one.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.campaign import Campaign, main
from fuzz.damages import damage
from fuzz.opened import make_model

from taskman_cli.__main__ import main as taskman
from taskman_cli.core.model import Durability
from taskman_cli.ledger.salvage import TABLES
from taskman_cli.ledger.store import NAME, open_store

#: A case that takes longer hangs, and ends it all with a traceback.
_HANGS_S = 60.0
#: More than this, by the processor's clock, no ledger of some pages takes.
_PATIENCE_S = 5.0
#: Damages after which each row is one that was there, and those after which it is one of the damaged file.
_CUTS, _CHANGES = {"the_end", "rows"}, {"some_values", "rows"}

Rows = dict[str, dict[tuple[Any, ...], int]]


def rows_of(directory: Path, name: str = NAME) -> Rows:
    """Return the rows of a ledger, how often each is there; raises sqlite3.Error where one cannot be read."""
    with tempfile.TemporaryDirectory(dir=directory.parent) as copy:
        for suffix in ("", "-wal"):
            if (directory / f"{name}{suffix}").exists():
                shutil.copyfile(directory / f"{name}{suffix}", Path(copy, f"copy{suffix}"))
        with closing(sqlite3.connect(Path(copy, "copy"))) as ledger:
            ledger.text_factory = bytes
            return {table: _counted(ledger, table) for table in TABLES}


def _counted(ledger: sqlite3.Connection, table: str) -> dict[tuple[Any, ...], int]:
    cursor = ledger.execute(f"SELECT * FROM {table} NOT INDEXED")
    names = [column[0] for column in cursor.description]
    found: dict[tuple[Any, ...], int] = {}
    for row in cursor:
        key = _as_closed(table, dict(zip(names, row, strict=True)))
        found[key] = found.get(key, 0) + 1
    return found


def _as_closed(table: str, row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a row without what salvage sets itself in a ledger of the past."""
    if table == "standing":
        row["accounted_ns"] = None
    elif table in ("runs", "attempts") and row["state"] in (b"queued", b"running", b"lost"):
        row |= dict.fromkeys({"state", "ended_ns", "ended_seq", "detail", "next_ns"} & row.keys())
    return tuple(row.values())


class Fuzzer:
    """A ledger that was good, and what is salvaged of damaged copies of it."""

    def __init__(self, campaign: Campaign, directory: Path) -> None:
        self.campaign = campaign
        self.home = directory / "home"
        self.new = directory / "new" / "salvaged.db"
        self.new.parent.mkdir()
        (directory / "model").mkdir()
        world = make_model(directory / "model", random.Random(campaign.seed))
        # With its log, as after kill -9; and as after a clean stop.
        killed = shutil.copytree(directory / "model", directory / "killed")
        world.ledger.close()
        at_rest = shutil.copytree(directory / "model", directory / "at-rest")
        self.models = [(model, rows_of(model)) for model in (killed, at_rest)]

    def play(self, number: int, chance: random.Random) -> None:
        """Damage a copy, and salvage it."""
        for path in (self.home, self.new.parent):
            shutil.rmtree(path, ignore_errors=True)
        self.new.parent.mkdir()
        model, before = chance.choice(self.models)
        shutil.copytree(model, self.home)
        faulthandler.dump_traceback_later(_HANGS_S, exit=True)
        what = damage(chance, self.home / NAME)
        kinds = set(what.split(" and ")) - {""}
        expected: Rows | None = None
        if kinds <= _CHANGES:
            try:
                expected = rows_of(self.home)
            except sqlite3.Error:
                expected = None
        elif kinds <= _CUTS:
            expected = before
        began_s = time.process_time()  # what the machine does beside it is no matter
        code = self.salvage(number, what)
        took = time.process_time() - began_s
        if took > _PATIENCE_S:
            self.campaign.fault(number, f"takes {took:.1f} s ({what})")
        if code is not None and self.new.exists():
            self.look(number, code, what, expected)
        faulthandler.cancel_dump_traceback_later()

    def salvage(self, number: int, what: str) -> int | None:
        """Run the command; return its exit code, None after an exception."""
        out, err = io.StringIO(), io.StringIO()
        argv = ["salvage", str(self.home / NAME), "-o", str(self.new), "--json"]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = taskman(argv)
        except Exception:
            self.campaign.fault(number, f"has a traceback ({what})", traceback.format_exc(limit=-6))
            return None
        said = err.getvalue().splitlines()
        if code not in (0, 1) or (code == 1 and not said) or "rror:" in err.getvalue():
            self.campaign.fault(number, f"exits with {code} ({what})", said[:5])
        left = sorted(path.name for path in self.new.parent.iterdir())
        if left != ([self.new.name] if out.getvalue() else []):
            self.campaign.fault(number, f"leaves {left} and says {said[:5]} ({what})")
        if out.getvalue():
            json.loads(out.getvalue())
        return code

    def look(self, number: int, code: int, what: str, expected: Rows | None) -> None:
        """Look at the new ledger."""
        try:
            found = rows_of(self.new.parent, self.new.name)
            with closing(open_store(self.new, Durability.PROCESS)) as ledger:
                state = ledger.execute("PRAGMA integrity_check").fetchone()[0]
        except Exception:
            self.campaign.fault(number, f"does not open ({what})", traceback.format_exc(limit=-6))
            return
        if state != "ok":
            self.campaign.fault(number, f"is damaged itself ({what})", state)
        if expected is None:
            return
        is_cut_twice = "rows" in what and "the_end" in what  # what the first took away is not missing
        for table, rows in found.items():
            more = {row for row, count in rows.items() if count > expected[table].get(row, 0)}
            less = {row for row, count in expected[table].items() if count > rows.get(row, 0)}
            if more and table != "standing":
                self.campaign.fault(number, f"{table} has rows that there were not ({what})", list(more)[:2])
            if less and code == 0 and not is_cut_twice:
                self.campaign.fault(
                    number, f"{table} lacks rows, and it is not said ({what})", list(less)[:2]
                )


def fuzz(campaign: Campaign) -> None:
    """Run it all in a directory of its own."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk is to be waited for
    with tempfile.TemporaryDirectory(prefix="taskman-fuzz-", dir=memory, ignore_cleanup_errors=True) as name:
        fuzzer = Fuzzer(campaign, Path(name))
        for number, chance in campaign.chances():
            fuzzer.play(number, chance)


if __name__ == "__main__":
    raise SystemExit(main(fuzz, __doc__))
