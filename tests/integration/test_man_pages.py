"""The man pages have all that the program has, are clean, and are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest
from integration.documents import COMMON, MAN_PAGES, ROOT, options

from taskman_cli.cli.app import COMMANDS
from taskman_cli.insight.lint import LINTS
from taskman_cli.jobfile.keys import JOB_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS

COMMAND_PAGE = MAN_PAGES["taskman.1"]
JOB_FILE_PAGE = MAN_PAGES["taskman.toml.5"]


def _section(page: str, heading: str) -> str:
    return page.split(f"\n.{heading}\n")[1].split("\n.S")[0]


def _tags(text: str, macro: str) -> set[str]:
    items = re.findall(r"^\.It (.*)$", text, re.M)
    return {word.strip('"') for item in items for word in re.findall(rf"\b{macro} (\S+)", item)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_man_page_has_every_option_of_a_command_and_no_other(name: str) -> None:
    described = {f"-{flag}" for flag in _tags(_section(COMMAND_PAGE, f"Ss taskman {name}"), "Fl")}
    assert described == options(name) - COMMON


def test_the_man_page_lists_every_command() -> None:
    assert _tags(_section(COMMAND_PAGE, "Sh DESCRIPTION"), "Cm") == set(COMMANDS)


def test_the_options_of_all_commands_are_described_once() -> None:
    described = {f"-{flag}" for flag in _tags(_section(COMMAND_PAGE, "Sh COMMON OPTIONS"), "Fl")}
    assert described == COMMON | {"-h", "--help"}


def test_the_man_page_has_every_exit_code_and_every_warning() -> None:
    codes = re.findall(r'^\.It No "?(\d+)"?$', _section(COMMAND_PAGE, "Sh EXIT STATUS"), re.M)
    assert codes == ["0", "1", "2", "3", "4", "124", "130", "141"]
    assert _tags(_section(COMMAND_PAGE, "Sh WARNINGS"), "Li") == LINTS.keys()


def test_the_page_of_the_job_file_has_every_key_and_no_other() -> None:
    assert _tags(_section(JOB_FILE_PAGE, "Sh JOBS"), "Va") == JOB_KEYS.keys()
    assert _tags(_section(JOB_FILE_PAGE, "Sh RETRIES"), "Va") == RETRY_KEYS.keys()
    assert _tags(_section(JOB_FILE_PAGE, "Sh THE SCHEDULER"), "Va") == {
        f"taskman.{key}" for key in TASKMAN_KEYS.keys() - POOL_KEYS
    }
    assert _tags(_section(JOB_FILE_PAGE, "Sh THE POOL"), "Va") == {f"pool.{key}" for key in POOL_KEYS}
    assert _tags(_section(JOB_FILE_PAGE, "Sh METRICS"), "Va") == {f"metrics.{key}" for key in METRICS_KEYS}


@pytest.mark.parametrize("name", MAN_PAGES)
def test_a_man_page_is_clean(name: str) -> None:
    if shutil.which("mandoc"):
        command = ["mandoc", "-Tlint", "-Wwarning", ROOT / "man" / name]
        assert subprocess.run(command, check=False, capture_output=True, text=True).stdout == ""
    macros = {line.split()[0] for line in MAN_PAGES[name].splitlines() if line.startswith(".")}
    known = r"\" Ar Bd Bl Cm Dd Dt Ed El Em It Li Nd Nm Op Os Pp Sh Ss Xr Fl"
    assert macros <= {f".{macro}" for macro in known.split()}
    assert MAN_PAGES[name].isascii()
    assert "`" not in re.sub(r"^\.Bd .*?^\.Ed$", "", MAN_PAGES[name], flags=re.M | re.S)


def test_the_man_pages_are_installed_where_man_looks_for_them() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    assert wheel["shared-data"] == {f"man/{name}": f"share/man/man{name[-1]}/{name}" for name in MAN_PAGES}
