"""What a lost attempt has left on this machine is ended, and nothing else."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.executors.base import Order
from taskman_cli.executors.leftovers import end_left

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKS = {"TASKMAN_RUN_ID": f"left{os.getpid()}", "TASKMAN_TASK": "main", "TASKMAN_ATTEMPT": "1"}


@pytest.fixture
def start() -> Iterator[Any]:
    begun: list[subprocess.Popen[bytes]] = []

    def begin(marks: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], **marks}, **more))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def end(env: dict[str, str]) -> None:
    order = Order(handle="h", job="j", task="main", run="r", attempt=1, env=env)
    asyncio.run(end_left(order))


def test_what_has_the_variables_of_the_attempt_is_killed_wherever_it_is(start: Any) -> None:
    left, other = start(MARKS, start_new_session=True), start(MARKS | {"TASKMAN_ATTEMPT": "2"})
    end(MARKS)
    assert left.wait(60) == -9
    assert other.poll() is None


def test_without_all_variables_nothing_is_killed(start: Any) -> None:
    left = start(MARKS)
    end({"TASKMAN_RUN_ID": MARKS["TASKMAN_RUN_ID"]})
    assert left.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_left_alone_whatever_it_says(start: Any) -> None:
    other = start(MARKS, user=pwd.getpwnam("games").pw_uid)
    end(MARKS)
    assert other.poll() is None
