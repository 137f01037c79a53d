"""The conformance suite for executors: what keeps the contract passes, and each fault is found."""

from __future__ import annotations

import os

import pytest
from integration import shell_executor
from integration.shell_executor import ShellExecutor
from process_table import descriptors

from taskman_cli.executors.testing import CHECKS, check, in_shell

#: What is wrong with an executor, and a check that has to find it.
BROKEN = {
    "WrongCode": "exit codes",
    "SignalAsCode": "signals",
    "Decoding": "output",
    "Cutting": "huge output",
    "Late": "live output",
    "Bare": "environment",
    "Deaf": "stdin",
    "LeaderOnly": "KILL ends all",
    "Harsh": "TERM, then KILL",
    "Believing": "unknown handle",
    "Raising": "killed in each state",
    "Leaking": "exit codes",
    "Silent": "exit codes",
    "Complaining": "doctor",
}


def open_files() -> set[int]:
    return {*descriptors(os.getpid())}


def test_an_executor_that_keeps_the_contract_passes() -> None:
    check(ShellExecutor, say=in_shell, finds_again=True)


@pytest.mark.parametrize(("name", "found_by"), BROKEN.items())
def test_a_broken_executor_is_found(name: str, found_by: str) -> None:
    before = open_files()
    with pytest.raises(AssertionError, match=f"^{found_by}: "):
        check(getattr(shell_executor, name), say=in_shell, only=[found_by], timeout_s=2)
    for number in open_files() - before:
        os.close(number)


def test_a_check_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no such check: exit code$"):
        check(ShellExecutor, say=in_shell, without=["exit code"])
    assert "exit codes" in CHECKS
