"""Each fuzzer for some seconds, from a seed that stays; TASKMAN_FUZZ_S has them take longer.

The scripts say what they do. `python tests/fuzz/NAME.py --seconds N` starts from another seed each time, and
`--seed N --only CASE` makes one case again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.campaign import seconds_in_the_suite

FUZZERS = Path(__file__).parent


# A process of its own: most commands are forked from it, and pytest's has threads.
@pytest.mark.timeout(120 + 2 * seconds_in_the_suite())
@pytest.mark.parametrize("name", ["sockets", "commands", "jobfiles", "names", "ledgers", "salvaged"])
def test_nothing_odd_makes_it_fail_hang_or_lose_anything(name: str) -> None:
    script = [sys.executable, str(FUZZERS / f"{name}.py")]
    options = ["--seed", "1", "--seconds", str(seconds_in_the_suite())]
    done = subprocess.run([*script, *options], capture_output=True, text=True, check=False)
    assert "" == done.stderr
    words = done.stdout.splitlines()
    assert ["seed 1", f"{words[-1].split()[0]} cases, 0 faults"] == words, done.stdout
    assert int(words[-1].split()[0]) > 0


@pytest.mark.timeout(600)
def test_three_hundred_damaged_ledgers_keep_nobody_down() -> None:
    script = [sys.executable, str(FUZZERS / "opened.py"), "--seed", "1", "--cases", "300"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ("", ["seed 1", "300 cases, 0 faults"]) == (done.stderr, done.stdout.splitlines()), done.stdout
