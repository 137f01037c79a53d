"""Each type of executor that comes with taskman, in the conformance suite."""

from __future__ import annotations

import sys
from pathlib import Path

from taskman_cli.core.executors import ExecutorDefinition
from taskman_cli.executors import consumer, python
from taskman_cli.executors.testing import check, in_python, in_shell


def test_calls_in_warm_workers_conform() -> None:
    definition = ExecutorDefinition("py", "python", {"python": sys.executable})
    check(lambda: python.make(definition), say=in_python)


def test_a_consumer_conforms() -> None:
    program = str(Path(__file__).with_name("shell_consumer.py"))
    settings = {"command": (sys.executable, program), "concurrency": 20}
    definition = ExecutorDefinition("shells", "consumer", settings)
    check(lambda: consumer.make(definition), say=in_shell)
