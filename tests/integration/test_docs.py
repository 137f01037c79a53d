"""The pages describe all that the program has: commands, options, keys, warnings, codes; their blocks run."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.documents import (
    COMMON,
    MAN_PAGES,
    PAGES,
    README,
    ROOT,
    WITHOUT_COMMON,
    Block,
    blocks,
    calls,
    codes,
    first_column,
    options,
    section,
    steps,
)
from wait import wait_until

from taskman_cli import __version__, errors
from taskman_cli.cli.app import COMMANDS, GROUPS
from taskman_cli.cli.options.command import ALIASES
from taskman_cli.core.model import SkipReason, State
from taskman_cli.core.timespec import parse_duration, parse_moment
from taskman_cli.insight.lint import LINTS
from taskman_cli.jobfile import loads
from taskman_cli.jobfile.executors import EXECUTOR_KEYS
from taskman_cli.jobfile.keys import JOB_KEYS, OWN_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.logs import LOGGING_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.resources import RESOURCE_KEYS
from taskman_cli.jobfile.schema import schema
from taskman_cli.jobfile.sinks import SINK_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS
from taskman_cli.jobfile.tuning import TUNING_KEYS
from taskman_cli.metrics.families import FAMILIES, JOB_FAMILIES, Family, JobFamily
from taskman_cli.metrics.text import sample_name

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The two lines that always work on a fresh machine.
PROMISED = [
    "python3 -m venv .venv && .venv/bin/pip install . && "
    ".venv/bin/taskman run examples/quickstart.toml --for 20s --ephemeral",
    "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest -n 2",
]


# --- docs/commands.md ---


def test_commands_stand_in_the_groups_of_the_help_and_in_the_contents() -> None:
    page = PAGES["docs/commands.md"]
    groups = {
        heading: re.findall(r"^### taskman (\w+)$", text, re.M)
        for heading, text in re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", page, re.M)
    }
    assert {heading: names for heading, names in groups.items() if names} == {
        heading: list(group) for heading, group in GROUPS.items()
    }
    contents = page.split("\n## ")[0]
    assert re.findall(r"\(#taskman-(\w+)\)", contents) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_of_a_command_has_every_option_and_no_other(name: str) -> None:
    rows = first_column(section("docs/commands.md", f"taskman {name}"))
    described = {word for row in rows for code in codes(row) for word in code.split() if word[0] == "-"}
    assert described == options(name) - COMMON


def test_the_options_of_all_commands_are_described_once() -> None:
    text = section("docs/commands.md", "Common options")
    described = {word for row in first_column(text) for code in codes(row) for word in code.split()}
    assert {word for word in described if word[0] == "-"} == COMMON | {"-h", "--help"}
    (exception,) = re.findall(r"except (.*?)\.", text, re.S)
    assert set(codes(exception)) == WITHOUT_COMMON
    for name in COMMANDS.keys() - WITHOUT_COMMON:
        assert options(name) >= COMMON, name


def test_every_exit_code_is_described() -> None:
    described = {
        int(code) for code in re.findall(r"^\| (\d+) \|", section("docs/commands.md", "Exit codes"), re.M)
    }
    known = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.TaskmanError)
    }
    assert described == known | {0, 124, 130, 141}


def test_every_warning_is_described_with_its_severity() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", section("docs/commands.md", "Warnings"), re.M)
    assert rows == [(name, str(severity)) for name, severity in sorted(LINTS.items())]


@pytest.mark.parametrize(("page", "line"), calls())
def test_a_call_of_taskman_has_a_command_and_options_that_exist(page: str, line: str) -> None:
    words = shlex.split(line.replace("…", "").replace("|", " "), comments=True)
    name = ALIASES.get(words[0], words[0])
    del words[0]
    assert name in COMMANDS, page
    if "--" in words:
        del words[words.index("--") :]
    given = {word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)}
    assert given <= options(name) | {"-h", "--help"}, page


# --- docs/jobfile.md ---


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        pytest.param("Jobs", set(JOB_KEYS), id="jobs"),
        pytest.param("Retries", set(RETRY_KEYS), id="retry"),
        pytest.param(
            "The scheduler",
            {f"taskman.{key}" for key in TASKMAN_KEYS.keys() - POOL_KEYS},
            id="scheduler",
        ),
        pytest.param("Admission", set(TUNING_KEYS), id="admission"),
        pytest.param("Resources", set(RESOURCE_KEYS), id="resources"),
        pytest.param("Executors", set(EXECUTOR_KEYS), id="executors"),
        pytest.param("Sinks", set(SINK_KEYS), id="sinks"),
        pytest.param("The log", {f"logging.{key}" for key in LOGGING_KEYS}, id="logging"),
        pytest.param("The pool", {f"pool.{key}" for key in POOL_KEYS}, id="pool"),
        pytest.param("Metrics", {f"metrics.{key}" for key in METRICS_KEYS}, id="metrics"),
    ],
)
def test_the_page_of_the_job_file_has_every_key_once_and_no_other(heading: str, keys: set[str]) -> None:
    described = [row.strip("`") for row in first_column(section("docs/jobfile.md", heading))]
    assert sorted(described) == sorted(keys)


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Jobs", "job"),
        ("Retries", "retry"),
        ("The scheduler", "taskman"),
        ("The pool", "pool"),
        ("Metrics", "metrics"),
        ("Admission", "tuning"),
        ("Sinks", "other_sink"),
        ("Executors", "other_executor"),
        ("The log", "logging"),
    ],
)
def test_the_page_of_the_job_file_has_the_defaults_and_choices_of_the_schema(
    heading: str, table: str
) -> None:
    shown = schema()
    tables = shown["properties"] | shown["$defs"]
    tables["tuning"] = tables["pool"]["properties"]["admission_tuning"]
    shapes = tables[table]["properties"]
    for name, kind, default in re.findall(
        r"^\| `([\w.]+)` \| (.*?) \| (.*?) \|", section("docs/jobfile.md", heading), re.M
    ):
        shape = shapes.get(name.removeprefix("taskman.").removeprefix("pool."), {})
        if "default" in shape and name not in ("max_output", "unknown_least"):  # a size is shown with a unit
            assert json.loads(default.strip("`")) == shape["default"], name
        if "enum" in shape:
            assert [json.loads(code) for code in codes(kind)] == shape["enum"], name


@pytest.mark.parametrize(
    ("heading", "path"),
    [
        ("The pool", ()),
        ("Admission", ("properties", "admission_tuning")),
        ("Resources", ("properties", "resources", "patternProperties", "*", "anyOf", 1)),
    ],
    ids=["pool", "admission", "resources"],
)
def test_the_page_of_the_job_file_has_the_range_of_each_number_of_the_pool(
    heading: str, path: tuple[str | int, ...]
) -> None:
    table = schema()["properties"]["pool"]
    for step in path:
        table = next(iter(table.values())) if step == "*" else table[step]
    kinds = dict(re.findall(r"^\| `(?:pool\.)?(\w+)` \| (.*?) \|", section("docs/jobfile.md", heading), re.M))
    numbers = {
        name: f"{shape['type']}, {shape['minimum']} to {shape['maximum']}"
        for name, shape in table["properties"].items()
        if shape.get("type") in ("integer", "number")
    }
    assert numbers
    assert {name: kinds[name] for name in numbers} == numbers


def test_the_keys_without_a_default_are_named() -> None:
    (exception,) = re.findall(r"for\s+all jobs of the file, except (.*?)\.", PAGES["docs/jobfile.md"], re.S)
    assert set(codes(exception)) == OWN_KEYS


@pytest.mark.parametrize("variable", ["JOB", "TASK", "RUN_ID", "ATTEMPT", "SLOT", "TRIGGER", "TOKEN"])
def test_the_variables_of_a_command_are_described(variable: str) -> None:
    assert f"| `TASKMAN_{variable}` |" in PAGES["docs/jobfile.md"]


# --- docs/times-and-schedules.md ---


def test_every_example_of_a_time_and_of_a_duration_can_be_read() -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    (examples,) = re.findall(r"read:\n\n(.*?)\n\n", section("docs/times-and-schedules.md", "Times"), re.S)
    for text in codes(examples):
        assert parse_moment(text, now=now, prefer="future")
    (examples,) = re.findall(r"everywhere:(.*?)\.", section("docs/times-and-schedules.md", "Durations"), re.S)
    for text in codes(examples):
        assert parse_duration(text)


# --- docs/words.md ---


def test_every_state_and_every_reason_of_a_skip_is_described() -> None:
    states, reasons = PAGES["docs/words.md"].split("\n\nA run")[1].split("with one of", 1)
    assert set(codes(states)) == {str(state) for state in State}
    assert first_column(reasons) == [f"`{reason}`" for reason in SkipReason]


# --- docs/metrics.md ---


@pytest.mark.parametrize(
    ("heading", "families"), [("All metrics", FAMILIES), ("Metrics of each job", JOB_FAMILIES)]
)
def test_every_metric_is_described_as_it_describes_itself(
    heading: str, families: tuple[Family | JobFamily, ...]
) -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in section("docs/metrics.md", heading).splitlines()
        if line.startswith("| `")
    ]
    assert rows == [
        (
            f"`{sample_name(family)}`",
            family.kind,
            ", ".join(f"`{label}`" for label in family.labels if label != "le") or "none",
            family.help,
        )
        for family in families
    ]


# --- docs/json.md ---


@pytest.mark.parametrize("name", [name for name in COMMANDS if "--json" in options(name)])
def test_the_json_of_a_command_is_described(name: str) -> None:
    assert f"`taskman {name} " in section("docs/json.md", name)
    assert f"(json.md#{name})" in section("docs/commands.md", f"taskman {name}")


def test_every_kind_of_event_is_described() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "taskman_cli").rglob("*.py"))
    kinds = set(
        re.findall(r'(?:(?:_event|SchedulerNoted|Commanded)\(\s*|_note\(\s*(?=\S+ by)|kind=)"(\w+)"', source)
    )
    rows = first_column(section("docs/json.md", "events"))
    kinds |= {"recovered", "delayed", "slow", "overdue"}  # of `Noticed`, by members of an enum
    assert {kind for row in rows for kind in codes(row)} == kinds


# --- blocks ---


def test_the_readme_begins_with_the_two_lines_as_promised() -> None:
    assert [block.text.strip() for block in blocks("sh") if block.page == "README.md"][:2] == PROMISED


def test_ci_takes_its_test_line_from_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    pattern = re.search(r"grep -m 1 -E '(.*?)' README\.md", script)
    assert pattern is not None
    assert [line for line in README.splitlines() if re.search(pattern[1], line)] == [PROMISED[1]]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page)
def test_a_job_file_on_a_page_loads(block: Block) -> None:
    assert loads(block.text).jobs


#: What differs from one run of a command to the next.
_VARIABLE = [
    (r"the state is kept in \S+", "STATE"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d", "INSTANT"),
    (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{4}-\d\d-\d\d [\d:.]+(?:[+-]\d\d:\d\d)?", "TIME"),
    (r"\b\d{1,2} [A-Z][a-z]{2} \d\d:\d\d:\d\d", "TIME"),
    (r"\b\d[\d.]*(?:ms|[smhd])(?: ?\d+[smh])?\b", "DURATION"),
    (r"\b6[0-9a-z]{9}\b", "RUN"),
    (r"\s+", " "),
]


def _masked(text: str) -> str:
    for pattern, word in _VARIABLE:
        text = re.sub(pattern, word, text)
    return text


def _first(language: str, page: str) -> str:
    return next((block.text for block in blocks(language) if block.page == page), "")


@contextmanager
def _running(directory: Path, env: dict[str, str]) -> Iterator[None]:
    """Have a scheduler run the job file of the page."""
    run = ["taskman", "run", "jobs.toml", "--no-live"]
    with subprocess.Popen(run, cwd=directory, env=env, stderr=subprocess.DEVNULL) as scheduler:
        try:
            wait_until(lambda: _succeeds(["taskman", "status"], directory, env), timeout_s=30)
            yield
        finally:
            scheduler.terminate()


def _succeeds(command: list[str], directory: Path, env: dict[str, str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, cwd=directory, env=env).returncode == 0


@pytest.mark.parametrize("session", blocks("console"), ids=lambda session: session.page)
def test_a_terminal_session_of_a_page_goes_as_it_says(
    session: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs.toml").write_text(_first("toml", session.page), "utf-8")
    (tmp_path / "my.crontab").write_text(_first("crontab", session.page), "utf-8")
    # Popen looks for the program on the path of this process.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    env = os.environ | {"STATE_DIRECTORY": str(tmp_path / "state"), "TZ": "Europe/Stockholm"}
    is_exact = session.info == "console"
    with _running(tmp_path, env) if session.info.endswith("running") else nullcontext():
        for line, output in steps(session.text):
            command = ["/bin/sh", "-c", f"exec 2>&1; {line}"]
            result = subprocess.run(
                command, check=False, capture_output=True, text=True, cwd=tmp_path, env=env
            )
            same = str if is_exact else _masked
            assert same(result.stdout) == same(output), line


@pytest.mark.parametrize("block", blocks("sh"), ids=lambda block: block.page)
def test_the_shell_can_read_a_block_of_commands(block: Block) -> None:
    subprocess.run(["/bin/sh", "-n", "-c", block.text], check=True)


def test_the_unit_and_the_container_call_commands_that_exist() -> None:
    unit = (ROOT / "examples" / "systemd" / "taskman.service").read_text("utf-8")
    called = re.findall(r"^Exec\w+=\S+/taskman (\w+)", unit, re.M)
    assert called == ["run", "reload"]
    (container,) = blocks("dockerfile")
    assert re.findall(r'^ENTRYPOINT \["taskman", "(\w+)"', container.text, re.M) == ["run"]
    assert set(called) <= set(COMMANDS)


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_no_link_of_a_page_is_dead(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path.read_text("utf-8")), target


def test_the_readme_links_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert linked >= {page for page in PAGES if page.startswith("docs/")}


# --- the rest ---


@pytest.mark.parametrize("name", MAN_PAGES)
def test_a_man_page_says_what_the_pages_in_docs_say(name: str) -> None:
    pages = runpy.run_path(str(ROOT / "man" / "generate.py"))["PAGES"]
    assert MAN_PAGES[name] == pages[name](), "run: make man"
    assert pages.keys() == MAN_PAGES.keys()


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
