"""The arrows of the design: which part of the package may import which, and who may use what from outside."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import taskman_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(taskman_cli.__file__).parent

#: The layers, from the top: a part (a package or module right under taskman_cli) may import the parts named
#: beside it, and each of those is in a layer further down.
LAYERS: tuple[dict[str, set[str]], ...] = (
    {
        "__main__": {"cli", "core", "errors", "launch"},
        # The scheduler under the name that it had in taskman 0.1.
        "daemon": {"scheduler"},
    },
    {
        "cli": {
            "__init__", "control", "core", "errors", "executors", "insight", "instance", "jobfile", "launch",
            "ledger", "metrics", "scheduler", "simulate", "supervisor", "trust", "ui",
        },
    },
    {
        "scheduler": {
            "__init__", "control", "core", "errors", "instance", "jobfile", "launch", "ledger", "supervisor",
            "trust", "ui",
        },
        # Processes of its own: the scheduler imports nothing of it.
        "metrics": {"control", "core", "errors", "trust"},
    },
    {
        "control": {"core", "errors", "instance"},
        "jobfile": {"core", "errors", "launch", "trust"},
        "ledger": {"core", "errors"},
        "simulate": {"core"},
        "executors": {"core", "launch", "supervisor", "trust"},
        "sinks": {"__init__", "core", "errors", "launch", "supervisor", "trust"},
        "ui": {"core"},
    },
    {
        "insight": {"core", "errors"},
        "instance": {"errors", "supervisor", "trust"},
        "launch": {"core", "errors", "supervisor", "trust"},
    },
    {"core": {"errors"}, "supervisor": set(), "trust": {"errors"}},
    # `jobs` is what jobs in Python import, in interpreters that have nothing else of ours.
    {"__init__": set(), "errors": set(), "jobs": set()},
)  # fmt: skip
ARROWS = {part: below for layer in LAYERS for part, below in layer.items()}

#: What each part may import from outside the standard library.
THIRD_PARTY: dict[str, set[str]] = {
    "__main__": {"click"},
    "cli": {"click", "tomli_w"},
    "core": {"croniter"},
    "executors": {"distributed"},
    "instance": {"platformdirs"},
    "jobfile": {"tomli", "tomli_w", "tzlocal", "yaml"},
    "sinks": {"apprise", "tomli"},
    "ui": {"rich"},
}

#: Parts of the standard library that would make a pure part do I/O, read a clock, wait or log.
IMPURE = {
    "asyncio", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "selectors", "shutil", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip
PURE = ("core", "insight")

#: What the scheduler's process imports, from here on.
SCHEDULER = "taskman_cli.scheduler.__main__"

FILES = sorted(PACKAGE.rglob("*.py"))
LOOKED_AT = ast.Import, ast.ImportFrom, ast.keyword, ast.Dict, ast.Call, ast.Assign

pytestmark = pytest.mark.no_cover  # nothing of ours is called


def name_of(file: Path) -> str:
    """Return the full name of a file's module."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """Return the parts of a file that tests look at, wherever in it they are; all parts would be many."""
    return tuple(node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, LOOKED_AT))


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Return the full name of every module that a file imports anywhere, for types only or late included."""
    return frozenset(_imports(file))


def _imports(file: Path) -> Iterator[str]:
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where an arrow leads"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES or node.module == "taskman_cli" else node.module


def own_parts(file: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports_of(file) if name.startswith("taskman_cli.")}
    return {"__init__" if name == "__version__" else name for name in names} - {part_of(file)}


def outside_modules(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(file)} - {"taskman_cli", "__future__"}


def imported_modules(module: str) -> set[str]:
    return (imports_of(MODULES[module]) & MODULES.keys()) - {module}


def test_each_part_has_its_arrows_here_and_in_the_architecture() -> None:
    assert {part_of(file) for file in FILES} == ARROWS.keys()


def test_a_file_imports_only_what_its_part_may() -> None:
    wrong = {
        name: (own_parts(file) - ARROWS[part_of(file)])
        | (outside_modules(file) - sys.stdlib_module_names - THIRD_PARTY.get(part_of(file), set()))
        for name, file in MODULES.items()
    }
    assert {name: what for name, what in wrong.items() if what} == {}


def test_no_arrow_is_drawn_that_no_file_needs() -> None:
    needed: dict[str, set[str]] = {part: set() for part in ARROWS}
    for file in FILES:
        needed[part_of(file)] |= own_parts(file)
    assert needed == ARROWS


def test_arrows_lead_down_only() -> None:
    depths = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}
    up = {(part, below) for part in ARROWS for below in ARROWS[part] if depths[below] <= depths[part]}
    assert up == set()


def test_the_house_is_small_enough_to_be_known_by_heart() -> None:
    assert len(LAYERS) <= 9
    assert len(ARROWS) <= 21
    assert sum(map(len, ARROWS.values())) <= 75
    deepest = max(len(file.relative_to(PACKAGE).parts) for file in FILES)
    assert deepest <= 3


def test_a_file_is_short_enough_to_have_one_subject() -> None:
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_a_pure_part_imports_nothing_that_does_anything() -> None:
    pure = {name: file for name, file in MODULES.items() if part_of(file) in PURE}
    assert len(pure) > 50
    assert {name for name, file in pure.items() if outside_modules(file) & IMPURE} == set()


def test_no_modules_import_each_other() -> None:
    done: set[str] = set()

    def follow(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"{' -> '.join((*above, module))} is a circle"
        if module not in done:
            for other in sorted(imported_modules(module)):
                follow(other, (*above, module))
            done.add(module)

    for module in MODULES:
        follow(module, ())


def test_the_process_of_the_scheduler_loads_nothing_that_is_for_commands_only() -> None:
    loaded: set[str] = set()
    waiting = [SCHEDULER]
    while waiting:
        module = waiting.pop()
        if module not in loaded:
            loaded.add(module)
            waiting += imported_modules(module)
    assert len(loaded) > 50
    assert {name for name in loaded if name.split(".")[1:2] in (["insight"], ["cli"])} == set()


def test_a_command_never_becomes_a_second_scheduler() -> None:
    used = {name for file in FILES if part_of(file) == "cli" for name in imports_of(file)}
    assert {name for name in used if name.startswith("taskman_cli.scheduler.")} == {
        "taskman_cli.scheduler.options",
        "taskman_cli.scheduler.requests.reload",
        "taskman_cli.scheduler.signals",  # what a container may use is known there alone
    }


def test_only_the_ledger_and_its_readers_know_of_sqlite() -> None:
    knowing = {part_of(file) for file in FILES if "sqlite3" in outside_modules(file)}
    assert knowing <= {"ledger", "cli"}


def _exit_codes_as_numbers(file: Path) -> Iterator[str]:
    """Find numbers that are given as an exit code: `code=2`, `Refused(words, 2)`, `exit(2)` …"""

    def is_number(node: ast.expr | None) -> bool:
        return isinstance(node, ast.Constant) and type(node.value) is int and node.value != 0

    for node in nodes_of(file):
        match node:
            case ast.keyword(arg="code" | "exit_code", value=value) if is_number(value):
                yield f"{file.name}:{value.lineno}"
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "code" and is_number(value):
                        yield f"{file.name}:{value.lineno}"
            case ast.Call(func=ast.Name(id="Refused"), args=[_, code]) if is_number(code):
                yield f"{file.name}:{code.lineno}"
            case ast.Call(func=ast.Attribute(attr="exit"), args=[code]) if is_number(code):
                yield f"{file.name}:{node.lineno}"
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if is_number(value):
                if name.lower().startswith("exit_"):
                    yield f"{file.name}:{node.lineno}"


def test_exit_codes_are_numbers_in_errors_alone() -> None:
    # The supervisor imports nothing of ours.
    files = [file for file in FILES if part_of(file) not in ("errors", "supervisor")]
    assert [found for file in files for found in _exit_codes_as_numbers(file)] == []
