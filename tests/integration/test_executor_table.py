"""The table of docs/executors.md, key by key and type by type, is what the job file takes and refuses."""

from __future__ import annotations

import grp
import os
import pwd
import re
from pathlib import Path

import pytest

from taskman_cli.core.executors import LOCAL
from taskman_cli.jobfile import JobFileError, loads
from taskman_cli.jobfile.executors import TYPES

PAGE = Path(__file__).parents[2] / "docs" / "executors.md"
#: What a table of each type has to have.
TABLES = {
    "local": "",
    "ssh": 'host = "far"',
    "container": 'image = "i"',
    "dask": 'address = "tcp://far:8786"\ninsecure = true',
    "python": "",
    "consumer": 'command = "c"',
}
#: How a job says each key of the table; in a row with several, each.
LINES = {
    "`command` as a string": ['command = "true"'],
    "`command` as an array": ['command = ["true"]'],
    "`call`, `args`, `kwargs`": ['call = "m:f"'],
    "`shell`": ['shell = "/bin/sh"'],
    "`cwd`": ['cwd = "/"'],
    "`env`, `env_file`, parameters": ['env = { A = "1" }', 'env_file = "/x"'],
    "`inherit_env`": ["inherit_env = false"],
    "`stdin`": ['stdin = "x"'],
    # Other users than oneself are for root alone, whatever the type.
    "`user`, `group`": [
        f'user = "{pwd.getpwuid(os.geteuid()).pw_name}"',
        f'group = "{grp.getgrgid(os.getegid()).gr_name}"',
    ],
    "`umask`, `nice`": ['umask = "022"', "nice = 3"],
    "`limits`": ["limits = { open_files = 99 }"],
    '`output = "capture"`': ['output = "capture"'],
    '`output = "inherit"`': ['output = "inherit"'],
    '`output = "discard"`': ['output = "discard"'],
    "`kill_signal`": ['kill_signal = "INT"'],
    "`kill_orphans`": ["kill_orphans = false"],
    "`only_if`": ['only_if = "true"'],
}


def rows() -> dict[str, dict[str, str]]:
    """Return the cells of the table by key and type."""
    text = PAGE.read_text("utf-8").partition("## What works where\n")[2].partition("\n## ")[0]
    lines = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    types = [name.strip("`") for name in lines[0][1:]]
    return {cells[0]: dict(zip(types, cells[1:], strict=True)) for cells in lines[2:]}


ROWS = rows()


def is_refused(kind: str, line: str) -> bool:
    table = "" if kind == LOCAL else f'[executors.x]\ntype = "{kind}"\n{TABLES[kind]}\n'
    executor = "" if kind == LOCAL else 'executor = "x"\n'
    is_run = line.startswith(("command", "call"))
    runs = "" if is_run else 'call = "m:f"\n' if kind == "python" else 'command = "true"\n'
    text = f"{table}[jobs.a]\nevery = '1h'\n{executor}{runs}{line}\n"
    try:
        loads(text, path=Path("/j.toml"), timezone="UTC")
    except JobFileError:
        return True
    return False


def test_the_table_has_every_type() -> None:
    assert list(next(iter(ROWS.values()))) == [LOCAL, *sorted(TYPES, key=list(TABLES).index)]


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("row", LINES)
def test_a_cell_says_what_check_says(row: str, kind: str) -> None:
    cell = ROWS[row][kind]
    for line in LINES[row]:
        assert is_refused(kind, line) == cell.startswith("refused"), (line, cell)


def test_each_row_about_a_key_is_tested() -> None:
    assert {row for row in ROWS if row.startswith("`")} == LINES.keys()
