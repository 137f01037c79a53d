"""Some cases of each fuzzer, from a seed that stays; with TASKMAN_FUZZ_S as many as there is time for.

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

#: What takes a few seconds; `make fuzz` makes thousands.
CASES = {"sockets": 120, "commands": 40, "jobfiles": 25, "names": 2, "ledgers": 3, "salvaged": 20}


# A process of its own: most commands are forked from it, and pytest's has threads.
@pytest.mark.timeout(300 + 2 * (seconds_in_the_suite() or 0))
@pytest.mark.parametrize("name", CASES)
def test_nothing_odd_makes_it_fail_hang_or_lose_anything(name: str) -> None:
    seconds = seconds_in_the_suite()
    amount = ["--cases", str(CASES[name])] if seconds is None else ["--seconds", str(seconds)]
    script = [sys.executable, str(FUZZERS / f"{name}.py"), "--seed", "1", *amount]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    words = done.stdout.splitlines()
    cases = words[-1].split()[0]
    assert words == ["seed 1", f"{cases} cases, 0 faults"], done.stdout
    assert int(cases) > 0 if seconds is not None else int(cases) == CASES[name]


@pytest.mark.timeout(600)
def test_a_hundred_damaged_ledgers_keep_nobody_down() -> None:
    # Side by side: each waits for its disk as much as it computes.
    script = [sys.executable, str(FUZZERS / "opened.py"), "--cases", "50"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    halves = {seed: subprocess.Popen([*script, "--seed", seed], **pipes) for seed in ("1", "2")}
    try:
        said = {seed: half.communicate() for seed, half in halves.items()}
    finally:
        for half in halves.values():
            half.kill()
    for seed, (out, err) in said.items():
        assert ("", [f"seed {seed}", "50 cases, 0 faults"]) == (err, out.splitlines()), out


@pytest.mark.timeout(300)
def test_a_hundred_histories_with_all_rules_of_the_pool_break_no_law() -> None:
    script = [sys.executable, str(FUZZERS / "histories.py"), "--seeds", "100"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    first, *rest = done.stdout.splitlines()
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    assert first.startswith("100 histories, ")
    assert first.endswith("; 0 broke a law")
    counts = {name: int(count) for count, name in (line.split(maxsplit=1) for line in rest)}
    rules = ("a crash", "resources held", "skipped by only_if", "skipped as parked", "memory learned")
    assert {rule: counts.get(rule, 0) >= 20 for rule in rules} == dict.fromkeys(rules, True)
