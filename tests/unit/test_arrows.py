"""The arrows of the design: which part of the package may import which, and who may use what from outside."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import taskman_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(taskman_cli.__file__).parent

#: Each part (a package or module right under taskman_cli) with the parts it may import besides itself.
ARROWS: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "core": {"errors"},
    "supervisor": set(),
    "locales": {"core", "supervisor"},
    "timerfd": set(),
    "jobcontrol": {"logs", "ui"},
    "signals": set(),
    "daemon_options": set(),
    "state": {"errors", "trust"},
    "instance": {"errors"},
    "clocks": {"core"},
    "premises": {"instance", "state", "trust"},
    "tokens": set(),
    "orphans": {"tokens"},
    "control": {"core", "errors", "instance", "state"},
    "ledger": {"core", "errors"},
    "accounts": {"core", "errors"},
    "sight": set(),
    "lookout": {"sight"},
    "jobfile": {"accounts", "core", "errors", "sight", "trust"},
    "ui": {"core", "errors"},
    "logs": {"core"},
    "flightrecorder": {"core"},
    "poison": {"core", "flightrecorder", "logs"},
    "outputs": set(),
    "trust": {"errors"},
    "environment": {"core", "errors", "supervisor", "trust"},
    "plans": {"accounts", "core", "environment", "tokens"},
    "workers": {"core", "environment", "errors", "orphans", "outputs", "plans", "supervisor", "tokens"},
    "recorder": {"core", "ledger", "logs", "poison"},
    "handover": {"core", "ledger", "orphans", "workers"},
    "waits": {"control", "core"},
    "batch": {"core"},
    "asking": {"control", "core", "jobfile"},
    "changes": {"asking", "batch", "control", "core", "jobfile", "ledger"},
    "desk": {"__init__", "asking", "batch", "changes", "control", "core", "jobfile", "poison", "waits"},
    "reloading": {"jobfile", "locales", "sight"},
    "preflight": {"accounts", "core", "environment", "errors", "jobfile"},
    "programs": {"core", "environment", "errors", "jobfile", "trust"},
    "reader": {"errors", "jobfile", "preflight", "programs", "reloading", "sight", "trust"},
    "watching": {"locales", "lookout", "sight"},
    "reception": {
        "control", "core", "desk", "jobfile", "logs", "poison", "reloading", "sight", "watching", "workers",
    },
    "telling": {"core", "ledger", "logs", "outputs", "workers"},
    "loop": {
        "clocks", "core", "daemon_options", "handover", "jobcontrol", "ledger", "logs", "outputs", "poison",
        "reception", "recorder", "signals", "supervisor", "telling", "timerfd", "ui", "workers",
    },
    "daemon": {
        "programs",
        "core", "daemon_options", "desk", "environment", "errors", "jobfile", "ledger", "logs", "loop",
        "locales", "orphans", "outputs", "plans", "poison", "premises", "reception", "reloading",
        "supervisor", "tokens", "ui", "watching", "workers", "trust", "flightrecorder",
    },
    "cli": {
        "programs",
        "accounts", "control", "core", "daemon_options", "environment", "errors", "instance", "jobfile",
        "ledger", "locales", "plans", "preflight", "state", "supervisor", "trust", "ui",
    },
    "__main__": {"cli", "core", "errors", "locales", "signals"},
}  # fmt: skip

#: What each part may import from outside the standard library.
THIRD_PARTY: dict[str, set[str]] = {
    "core": {"croniter"},
    "jobfile": {"tomli_w", "tzlocal"},
    "ui": {"rich"},
    "state": {"platformdirs"},
    "cli": {"click", "tomli_w"},
    "__main__": {"click"},
}

#: Parts of the standard library that would make `core` do I/O, read a clock, wait or log.
IMPURE = {
    "asyncio", "fcntl", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "selectors", "shutil", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports anywhere, for types only or late included."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where an arrow leads"
            assert node.module
            if node.module == "taskman_cli":
                yield from (f"taskman_cli.{alias.name}" for alias in node.names)
            else:
                yield node.module


def own_parts(file: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports_of(file) if name.startswith("taskman_cli.")}
    return names - {part_of(file), "__version__"}


def outside_modules(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(file)} - {"taskman_cli", "__future__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may(file: Path) -> None:
    part = part_of(file)
    assert part in ARROWS, f"{part} is a new part: draw its arrows here and in ARCHITECTURE.md"
    assert own_parts(file) <= ARROWS[part]
    assert outside_modules(file) - sys.stdlib_module_names <= THIRD_PARTY.get(part, set())


@pytest.mark.parametrize("file", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda file: file.name)
def test_the_core_imports_nothing_that_does_anything(file: Path) -> None:
    assert outside_modules(file) & IMPURE == set()


def test_the_arrows_have_no_circle() -> None:
    reached: dict[str, set[str]] = {}

    def reach(part: str, above: tuple[str, ...]) -> set[str]:
        assert part not in above, f"{' -> '.join((*above, part))} is a circle"
        if part not in reached:
            below = [reach(other, (*above, part)) for other in ARROWS[part]]
            reached[part] = ARROWS[part].union(*below)
        return reached[part]

    for part in ARROWS:
        reach(part, ())
    assert "cli" not in reached["daemon"]
    # A command reads the ledger and never becomes a second scheduler.
    assert {"daemon", "loop", "recorder", "workers"} & reached["cli"] == set()


def test_only_the_ledger_and_its_readers_know_of_sqlite() -> None:
    knowing = {part_of(file) for file in FILES if "sqlite3" in outside_modules(file)}
    assert knowing <= {"ledger", "cli"}
