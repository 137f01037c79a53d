"""Whatever is shown goes through one escaping: no other place may print."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import taskman_cli

PACKAGE = Path(taskman_cli.__file__).parent

#: The functions that print, each with its reason to be one.
PLACES = {
    ("cli/render.py", "say"),  # escapes
    ("cli/render.py", "print_data"),  # job files and crontabs, for a program or a file
    ("cli/render.py", "show_array"),  # JSON, all ASCII
    ("cli/render.py", "show_lines"),  # the same
    ("cli/render.py", "show_rows"),  # escapes each cell; the colours are ours
    ("cli/render.py", "show_wrapped"),  # the same
    ("cli/render.py", "write_bytes"),  # what a command printed, byte by byte
    ("cli/support/check_report.py", "say_coloured"),  # escapes; the colours are ours
    ("cli/trial/foreground.py", "_wait_until"),  # a countdown of ours
    ("cli/trial/foreground.py", "_line_of_its_own"),
    ("cli/trial/elsewhere.py", "_show"),  # what a command printed, byte by byte
    ("executors/keeperloop.py", "complain"),  # escapes
    ("executors/pyends.py", "_complain"),  # the traceback of a call, into its output
    ("cli/commands/schema.py", "schema"),  # our own text
    ("cli/app.py", "app"),  # the help
    ("cli/commands/help.py", "help_"),  # the same
    ("cli/commands/completion.py", "completion"),  # our own script
    ("cli/commands/completion.py", "answer"),  # names, to the shell
    ("__main__.py", "_complain"),  # escapes
    ("cli/reader.py", "main"),  # bytes, to the scheduler
    ("supervisor/__main__.py", "main"),  # numbers and words of the system
    ("metrics/exporter.py", "_say"),  # JSON, all ASCII, to the scheduler
    ("supervisor/process.py", "leave_view"),  # moves the cursor
}

_PRINTERS = {
    "click.echo", "click.secho", "print", "echo", "secho", "sys.stdout.write", "sys.stderr.write",
    "sys.stdout.buffer.write", "sys.stderr.buffer.write",
}  # fmt: skip
_LAST_NAMES = {name.rpartition(".")[2] for name in _PRINTERS}


def prints(call: ast.Call) -> bool:
    last = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if last not in _LAST_NAMES:
        return False
    name = ast.unparse(call.func)
    if name == "os.write":
        return ast.unparse(call.args[0]) in ("1", "2")
    return name in _PRINTERS


def printing_functions() -> set[tuple[str, str]]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        if not any(f"{name}(" in text for name in _LAST_NAMES):
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef):
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
                if any(map(prints, calls)):
                    found.add((str(path.relative_to(PACKAGE)), function.name))
    return found


@pytest.mark.no_cover  # it calls nothing of ours
def test_nothing_prints_but_what_escapes_or_has_a_reason_not_to() -> None:
    assert printing_functions() == PLACES
