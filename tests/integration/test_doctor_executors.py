"""`taskman doctor` asks executors: each in a process of its own, with a limit of time."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from process_table import is_alive
from wait import wait_until

from taskman_cli.cli.doctor.executors import ask
from taskman_cli.core.executors import ExecutorDefinition

if TYPE_CHECKING:
    from pathlib import Path

PATH = {"PATH": os.environ["PATH"]}


def test_each_executor_says_how_it_is(tmp_path: Path) -> None:
    answers = ask(
        [
            ExecutorDefinition("py", "python", {"python": sys.executable}),
            ExecutorDefinition("bad", "python", {"python": "/no/such/python"}),
            ExecutorDefinition("odd", "no-such-type"),
        ],
        PATH, str(tmp_path), ["SECRET"], patience_s=60,
    )  # fmt: skip
    assert [answer.trouble for answer in answers.values()] == ["", "", ""]
    assert [good for good, *_ in answers["py"].findings] == [True]
    assert [good for good, *_ in answers["bad"].findings] == [False]
    ((is_good, words, _),) = answers["odd"].findings
    assert (is_good, words) == (False, 'there is no executor of type "no-such-type": no package brings it')


def test_one_that_hangs_is_ended_in_time_and_no_other_is_held_up(tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    hanging.chmod(0o755)
    began = time.monotonic()
    answers = ask(
        [
            ExecutorDefinition("hangs", "python", {"python": str(hanging)}),
            ExecutorDefinition("odd", "no-such-type"),
        ],
        PATH, str(tmp_path), [], patience_s=2,
    )  # fmt: skip
    assert time.monotonic() - began < 30
    (answer,) = answers["hangs"].findings
    assert answer == (False, "no answer within 2 s", "")
    assert len(list(tmp_path.iterdir())) == 2
    wait_until(lambda: not is_alive(int((tmp_path / "pid").read_text())), what="what it had started ends")
    assert len(answers["odd"].findings) == 1
