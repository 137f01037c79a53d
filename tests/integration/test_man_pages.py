"""The man page says what the program has: each command, option and key; its example loads."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from integration.documents import MAN_PAGES, ROOT, options

from taskman_cli.cli.app import COMMANDS
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.keys import JOB_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS

MAN = MAN_PAGES["taskman.1"]


def man_section(name: str) -> str:
    """Return the part of the man page from the item of a command to the next one's."""
    names = "|".join(COMMANDS)
    found = {match[1]: match.start() for match in re.finditer(rf"^\.It Cm ({names})\b", MAN, re.M)}
    start, starts = found[name], list(found.values())
    return MAN[start : min((at for at in starts if at > start), default=MAN.index(".Sh JOB FILE"))]


# --- commands and options ---


@pytest.mark.parametrize("name", COMMANDS)
def test_the_man_page_has_every_option_of_a_command_and_no_other(name: str) -> None:
    described = set()
    for line in re.findall(r"^\.It (Fl .*)$", man_section(name), re.M):
        described |= {f"-{flag}" for flag in re.findall(r"Fl (\S+)", line)}
    assert described == options(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_synopsis_of_the_man_page_has_every_long_option(name: str) -> None:
    synopsis = MAN[MAN.index(".Sh SYNOPSIS") : MAN.index(".Sh DESCRIPTION")]
    own = synopsis.split(f".Cm {name}\n")[1].split(".Nm")[0]
    missing = {option for option in options(name) if f"Fl {option[1:]} " not in own.replace("\n", " ")}
    assert missing <= {"--count"}, "the short form of --count stands there"


def test_the_man_page_has_the_commands_and_no_other() -> None:
    part = MAN[MAN.index(".Sh DESCRIPTION") : MAN.index(".Sh JOB FILE")]
    assert sorted(re.findall(r"^\.It Cm (\w+)", part, re.M)) == sorted(COMMANDS)


def test_the_man_page_has_every_key_and_no_other() -> None:
    part = MAN[MAN.index(".Sh JOB FILE") : MAN.index(".Sh SCHEDULES")]
    described = {
        key for line in re.findall(r"^\.It (Va .*)$", part, re.M) for key in re.findall(r"Va (\w+)", line)
    }
    assert described == JOB_KEYS.keys() | RETRY_KEYS.keys() | POOL_KEYS.keys() | TASKMAN_KEYS.keys()


def test_the_job_file_of_the_man_page_loads() -> None:
    example = MAN.split(".Sh JOB FILE")[1].split(".Bd -literal -offset indent\n")[1].split(".Ed")[0]
    assert [job.id for job in loads(example).jobs] == ["tidy", "backup", "probe"]


def test_the_man_page_is_clean() -> None:
    if shutil.which("mandoc"):
        lint = subprocess.run(
            ["mandoc", "-Tlint", "-Wwarning", ROOT / "man" / "taskman.1"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert lint.stdout == ""
    macros = {line.split()[0] for line in MAN.splitlines() if line.startswith(".")}
    known = "Ar Bd Bl Brq Cm Dd Dq Dt Ed El Em Ev Fl It Li Nd Nm Op Os Pa Pp Pq Sh Sq Ss Sx Va Xr"
    assert macros <= {f".{macro}" for macro in known.split()}
    assert "\x08" not in MAN
