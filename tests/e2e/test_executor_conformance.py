"""Each type of executor with the real program: its jobs, and each process killed in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from taskman_cli.executors.testing import SCENES, check_program, in_python, in_shell

pytestmark = pytest.mark.timeout(600)

#: Those that each type has of its own; the rest is played with one type, and with all of them by `make real`.
TELLING = ("it is cancelled", "all are killed")
FULL = pytest.param((), marks=pytest.mark.real, id="all")
CONSUMER = Path(__file__).parents[1] / "integration" / "shell_consumer.py"
#: `local` has no helper.
HELPERS = [scene for scene in SCENES if "helper" in scene]


@pytest.mark.parametrize("only", [pytest.param(TELLING, id="telling"), FULL])
def test_commands_here_conform(only: tuple[str, ...]) -> None:
    check_program("", name="local", say=in_shell, without=HELPERS, only=only)


def test_calls_in_warm_workers_conform() -> None:
    check_program('[executors.tested]\ntype = "python"\n', say=in_python)


@pytest.mark.parametrize("only", [pytest.param(TELLING, id="telling"), FULL])
def test_a_consumer_conforms(only: tuple[str, ...]) -> None:
    table = f'[executors.tested]\ntype = "consumer"\ncommand = ["{sys.executable}", "{CONSUMER}"]\n'
    check_program(table, say=in_shell, only=only)
