"""The documents say what is there: every command, option and key, blocks that load and run."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from taskman_cli import __version__
from taskman_cli.cli.app import COMMANDS, app
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.keys import JOB_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAN = (ROOT / "man" / "taskman.1").read_text("utf-8")

#: The two lines that the issue promises a user on a fresh machine.
PROMISED = [
    "python3 -m venv .venv && .venv/bin/pip install . && "
    ".venv/bin/taskman run examples/quickstart.toml --for 20s",
    "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest",
]


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language in the README."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def options(command: click.Command) -> Iterator[str]:
    """Yield every spelling of every option of a command, except for --help, which all have."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (*parameter.opts, *parameter.secondary_opts)


def command(name: str) -> click.Command:
    found = app.get_command(click.Context(app), name)
    assert found is not None
    return found


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
    assert described == set(options(command(name)))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_synopsis_of_the_man_page_has_every_long_option(name: str) -> None:
    synopsis = MAN[MAN.index(".Sh SYNOPSIS") : MAN.index(".Sh DESCRIPTION")]
    own = synopsis.split(f".Cm {name}\n")[1].split(".Nm")[0]
    missing = {
        option for option in options(command(name)) if f"Fl {option[1:]} " not in own.replace("\n", " ")
    }
    assert missing <= {"--count"}, "the short form of --count stands there"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_has_every_option_of_a_command(name: str) -> None:
    (row,) = re.findall(rf"^\| `taskman {name}[ `].*$", README, re.M)
    assert {option for option in options(command(name)) if f"`{option}" not in row} <= {"--count"}


def test_the_readme_and_the_man_page_have_the_commands_and_no_other() -> None:
    assert re.findall(r"^\| `taskman (\w+)[ `]", README, re.M) == list(COMMANDS)
    part = MAN[MAN.index(".Sh DESCRIPTION") : MAN.index(".Sh JOB FILE")]
    assert re.findall(r"^\.It Cm (\w+)", part, re.M) == list(COMMANDS)


# --- keys ---


def readme_keys(heading: str) -> list[str]:
    """Return the first column of the table under a heading of the README."""
    section = README.split(f"### {heading}\n")[1].split("\n#")[0]
    return re.findall(r"^\| `([\w.]+)` \|", section, re.M)


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        pytest.param("Jobs", set(JOB_KEYS), id="jobs"),
        pytest.param("Retries", set(RETRY_KEYS), id="retry"),
        pytest.param(
            "The scheduler",
            {f"pool.{key}" for key in POOL_KEYS}
            | {f"taskman.{key}" for key in TASKMAN_KEYS.keys() - POOL_KEYS},
            id="scheduler",
        ),
    ],
)
def test_the_readme_has_every_key_once_and_no_other(heading: str, keys: set[str]) -> None:
    described = readme_keys(heading)
    assert set(described) == keys
    assert len(described) == len(keys)


def test_the_man_page_has_every_key_and_no_other() -> None:
    part = MAN[MAN.index(".Sh JOB FILE") : MAN.index(".Sh SCHEDULES")]
    described = {
        key for line in re.findall(r"^\.It (Va .*)$", part, re.M) for key in re.findall(r"Va (\w+)", line)
    }
    assert described == JOB_KEYS.keys() | RETRY_KEYS.keys() | POOL_KEYS.keys() | TASKMAN_KEYS.keys()


@pytest.mark.parametrize("variable", ["JOB", "TASK", "RUN_ID", "ATTEMPT", "SLOT", "TRIGGER"])
def test_the_variables_of_a_command_are_described(variable: str) -> None:
    assert f"`TASKMAN_{variable}`" in README
    assert f"TASKMAN_{variable}" in MAN


# --- the README's blocks ---


def test_the_readme_has_the_two_lines_as_promised() -> None:
    assert [block.strip() for block in blocks("sh")] == PROMISED


def test_ci_takes_its_test_line_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    pattern = re.search(r"grep -m 1 -E '(.*?)' README\.md", script)
    assert pattern is not None
    assert [line for line in README.splitlines() if re.search(pattern[1], line)] == [PROMISED[1]]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.splitlines()[0])
def test_a_job_file_in_the_readme_loads(block: str) -> None:
    assert loads(block).jobs


def test_the_job_file_of_the_man_page_loads() -> None:
    example = MAN.split(".Sh JOB FILE")[1].split(".Bd -literal -offset indent\n")[1].split(".Ed")[0]
    assert [job.id for job in loads(example).jobs] == ["tidy", "backup", "probe"]


def sessions() -> list[tuple[str, str]]:
    """Return each command of the README's terminal sessions with the output that it is said to have."""
    return [
        (line, output)
        for block in blocks("console")
        for line, _, output in (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)[1:])
    ]


@pytest.mark.parametrize(("line", "output"), sessions())
def test_a_session_of_the_readme_goes_as_it_says(line: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text(blocks("toml")[0], "utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        ["/bin/sh", "-c", f"exec 2>&1; {line}"],
        check=False, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert result.stdout == output


def test_the_unit_of_the_readme_calls_commands_that_there_are() -> None:
    (unit,) = blocks("ini")
    calls = re.findall(r"^Exec\w+=\S+/taskman (\w+) ", unit, re.M)
    assert calls == ["check", "run"]
    assert set(calls) <= set(COMMANDS)


def test_no_link_of_the_readme_is_dead() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", README, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / target).exists(), (
            target
        )


# --- the rest ---


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


def _paths_in(tree: str) -> Iterator[str]:
    """Yield the files and directories that the map names, below the package; one line may name several."""
    above: list[str] = []
    for line in tree.splitlines()[2:]:
        margin = len(line) - len(line.lstrip())
        names = re.match(r"(?:\w+(?:\.py|/)(?:, |  |$))+", line.strip() + "  ")
        assert names, line
        del above[margin // 2 - 1 :]
        found = re.findall(r"\w+(?:\.py|/)", names[0])
        yield from ("".join(above) + name for name in found)
        above.append(found[0])


def test_architecture_is_short_and_names_files_that_there_are() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    package = ROOT / "taskman_cli"
    named = set(re.findall(r"`((?:core|cli|jobfile|scheduler|supervisor|ui)/[\w/]+\.py)`", text))
    assert {name for name in named if not (package / name).exists()} == {"cli/commands/NAME.py"}
    mapped = {path.rstrip("/") for path in _paths_in(text.split("```")[1])}
    assert {path for path in mapped if not (package / path).exists()} == set()
    for room in ("", "core/", "core/engine/", "scheduler/"):
        files = {path.name for path in (package / room).glob("*.py")} - {"__init__.py"}
        rooms = {path.parent.name for path in (package / room).glob("*/__init__.py")}
        assert {room + name for name in files | rooms} <= mapped


def test_every_dependency_has_its_reason_in_architecture() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[<>=~!\[; ]", dependency)[0] for dependency in project["dependencies"]}
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Dependencies")[1]
    explained = {name for cell in re.findall(r"^\| ([\w, -]+) \| ", table, re.M) for name in cell.split(", ")}
    assert explained - {"package"} == names


def test_the_changelog_has_a_section_for_what_is_coming_or_for_this_version() -> None:
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] in ("Unreleased", __version__)


def test_every_module_says_what_it_is_for() -> None:
    for path in (ROOT / "taskman_cli").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
