"""`taskman backup` and `taskman salvage`: copies of a ledger, whole or of what is left."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from integration.ledger_tables import second
from unit.engine_driver import make_job

from taskman_cli.__main__ import main
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.model import Settings, State, Trigger
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.ledger.store import NAME

NOW = second(0)
PAGE = 4096
RUNS = 2000
FIRST = NOW.wall_ns >> 13


def open_ledger(directory: Path) -> Ledger:
    return Ledger(directory, Settings(), supervisor=1, now=NOW)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a directory with a ledger of many runs, the last of which is not over."""
    state = tmp_path / "state"
    state.mkdir()
    ledger = open_ledger(state)
    records: list[effects.Record | effects.Mark] = [effects.JobArmed("job", definition_of(make_job()), 5, 5)]
    for number in range(RUNS):
        run = encode_run_id(FIRST + 1000 * number)
        records += [
            effects.RunQueued(run, "job", number, Trigger.SLOT, number),
            effects.AttemptBegun(run, "job", "main", 1, number),
        ]
        if number < RUNS - 1:
            records += [
                effects.AttemptFinished(run, "job", "main", 1, State.FAILED, "exit 1 caf\udce9", None, 1, 1),
                effects.RunFinished(run, "job", State.FAILED, number),
            ]
    for name, at_ns in (("once-1", 5), ("once-2", 2**62 - 1)):
        once = once_job(name, "true", at_ns=at_ns, timezone="UTC", cwd="/", env={}, umask=0)
        records += [effects.JobArmed(name, definition_of(once), 0, 0), effects.OnceAdded(once)]
    ledger.write([*records, effects.Accounted(RUNS)], NOW)
    ledger.close()
    return state


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return connection.execute(query).fetchall()


def root_of(path: Path, table: str) -> int:
    ((root,),) = rows(path, f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'")
    assert isinstance(root, int)
    return root


# --- backup ---


def test_a_copy_is_whole_and_private_while_the_ledger_is_written(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    ledger = open_ledger(state)
    ledger.write([effects.SchedulerNoted("scheduler_started")], NOW)
    before = os.umask(0)
    try:
        assert main(["backup", str(target), "--state-dir", str(state)]) == 0
    finally:
        os.umask(before)
    ledger.write([effects.SchedulerNoted("scheduler_stopped")], NOW)
    ledger.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "state"]
    assert rows(target, "PRAGMA integrity_check") == [(b"ok",)]
    ((kind,),) = rows(target, "SELECT kind FROM events ORDER BY seq DESC LIMIT 1")
    assert kind == b"scheduler_started"
    assert rows(target, "SELECT * FROM attempts") == rows(state / NAME, "SELECT * FROM attempts")


def test_a_copy_can_be_gone_back_to(state: Path, tmp_path: Path) -> None:
    assert main(["backup", str(tmp_path / "copy.db"), "--state-dir", str(state)]) == 0
    (tmp_path / "copy.db").rename(state / NAME)
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.set_aside, ledger.unreadable, ledger.standing.accounted_ns) == (None, [], RUNS)


def test_nothing_is_replaced_without_force(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    assert main(["backup", str(target), "--state-dir", str(state)]) == 1
    assert capsys.readouterr().err == f"taskman: {target} already exists: --force replaces it\n"
    assert target.read_text() == "precious"
    assert main(["backup", str(target), "--force", "--state-dir", str(state)]) == 0
    assert len(rows(target, "SELECT 1 FROM runs")) == RUNS


@pytest.mark.parametrize(
    ("name", "words"),
    [("state", "is a directory"), (f"state/{NAME}", "a name that"), (f"state/{NAME}-wal", "a name that"),
     ("nowhere/copy", "No such file")],
)  # fmt: skip
def test_an_error_says_why_a_copy_is_impossible(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    assert main(["backup", str(tmp_path / name), "--force", "--state-dir", str(state)]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_copy_of_a_damaged_ledger_says_so(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (state / NAME).open("r+b") as file:
        file.seek((root_of(state / NAME, "skips") - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    assert main(["backup", str(tmp_path / "copy.db"), "--state-dir", str(state)]) == 1
    assert "the ledger is damaged, and so is the copy" in capsys.readouterr().err


# --- salvage ---


def salvaged(path: Path, capsys: pytest.CaptureFixture[str], *, code: int) -> dict[str, dict[str, object]]:
    """Salvage a ledger into a new one beside it; return what it says of the tables."""
    before = path.read_bytes()
    capsys.readouterr()
    assert code == main(["salvage", str(path), "--json"])
    assert before == path.read_bytes()
    document = json.loads(capsys.readouterr().out)
    assert document["file"] == f"{path}.salvaged"
    assert rows(Path(document["file"]), "PRAGMA integrity_check") == [(b"ok",)]
    tables: dict[str, dict[str, object]] = document["tables"]
    return tables


def test_a_sound_ledger_is_recovered_completely_and_nothing_runs_again(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = state / NAME
    tables = salvaged(path, capsys, code=1)  # a one-off whose time has passed is left out
    assert [tables[name]["rows"] for name in ("runs", "attempts", "job_state", "once_jobs")] == [
        RUNS,
        RUNS,
        3,
        1,
    ]
    assert all(not table["unread"] and not table["refused"] for table in tables.values())
    new = Path(f"{path}.salvaged")
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert rows(new, "SELECT count(*), state FROM runs GROUP BY state") == [
        (RUNS - 1, b"failed"),
        (1, b"lost"),
    ]
    assert rows(new, "SELECT DISTINCT detail FROM attempts WHERE detail != ''") == [(b"exit 1 caf\xe9",)]
    new.rename(path)
    ledger = open_ledger(state)
    ledger.close()
    assert (ledger.set_aside, ledger.unreadable, ledger.open_runs) == (None, [], [])
    assert [job.id for job in ledger.once_jobs] == ["once-2"]
    assert ledger.standing.accounted_ns
    assert ledger.standing.accounted_ns > NOW.wall_ns - 10**18


def test_the_rows_around_a_damaged_page_come_back(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state / NAME
    ((page,),) = (
        rows(path, "SELECT pageno FROM dbstat WHERE name = 'runs' AND pagetype = 'leaf' LIMIT 1 OFFSET 10")
        if has_dbstat()
        else ((leaf_of(path, "runs"),),)
    )
    assert isinstance(page, int)
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    tables = salvaged(path, capsys, code=1)
    assert isinstance(tables["runs"]["rows"], int)
    assert RUNS - 150 < tables["runs"]["rows"] < RUNS
    assert tables["attempts"]["rows"] == RUNS
    assert isinstance(tables["runs"]["unread"], list)
    assert len(tables["runs"]["unread"]) == 1


def test_no_row_of_a_truncated_page_is_recovered(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite reads zeros where the file ends within a page; with a log it does not miss the rest."""
    killed = tmp_path / "killed"
    killed.mkdir()
    page = leaf_of(state / NAME, "events")
    ledger = open_ledger(state)
    ledger.write([effects.SchedulerNoted("suspended")], NOW)
    before = set(rows(state / NAME, "SELECT * FROM events"))
    for suffix in ("", "-wal"):
        (killed / f"x{suffix}").write_bytes((state / f"{NAME}{suffix}").read_bytes())
    ledger.close()
    os.truncate(killed / "x", page * PAGE - 2)  # the end of one row
    salvaged(killed / "x", capsys, code=1)
    after = set(rows(killed / "x.salvaged", "SELECT * FROM events"))
    assert (len(after) > 0, after - before) == (True, set())


def has_dbstat() -> bool:
    with closing(sqlite3.connect(":memory:")) as connection:
        options = {name for (name,) in connection.execute("PRAGMA compile_options")}
    return "ENABLE_DBSTAT_VTAB" in options


def leaf_of(path: Path, table: str) -> int:
    """Return the eleventh leaf of a table, by its root page."""
    root = root_of(path, table)
    page = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    assert page[0] == 5, "an inner page"
    cell = int.from_bytes(page[12 + 20 : 14 + 20])
    return int.from_bytes(page[cell : cell + 4])


@pytest.mark.parametrize("damage", ["zeroes", "junk in the schema"])
def test_a_damaged_first_page_is_replaced_by_that_of_a_new_ledger(
    state: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = state / NAME
    with path.open("r+b") as file:
        if damage == "junk in the schema":
            file.seek(100)
        file.write(bytes(PAGE) if damage == "zeroes" else b"\xff" * 3000)
    tables = salvaged(path, capsys, code=1)
    assert [tables[name]["rows"] for name in ("runs", "attempts")] == [RUNS, RUNS]


def test_what_is_in_the_log_alone_comes_back(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    ledger = open_ledger(state)
    ledger.write([effects.SchedulerNoted("suspended")], NOW)
    for suffix in ("", "-wal"):
        (killed / f"x{suffix}").write_bytes((state / f"{NAME}{suffix}").read_bytes())
    ledger.close()
    salvaged(killed / "x", capsys, code=1)
    assert rows(killed / "x.salvaged", "SELECT count(*) FROM events WHERE kind = 'suspended'") == [(1,)]


def test_rows_with_values_that_cannot_be_are_counted(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = state / NAME
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'runs'")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE runs SET due_ns = 'soon' WHERE id % 2000 = (SELECT min(id) FROM runs) % 2000"
        )
    tables = salvaged(path, capsys, code=1)
    assert [tables["runs"][what] for what in ("rows", "refused")] == [RUNS / 2, RUNS / 2]


@pytest.mark.parametrize("text", [b"", b"no ledger", os.urandom(5 * PAGE)], ids=["empty", "text", "junk"])
def test_a_file_that_is_not_a_ledger_makes_no_new_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    (tmp_path / "x").write_bytes(text)
    assert main(["salvage", str(tmp_path / "x")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_odd_files_are_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "is not a file"), ("nothing", "does not exist"), (".", "is a directory")):
        assert main(["salvage", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err
