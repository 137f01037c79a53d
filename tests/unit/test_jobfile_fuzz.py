"""Whatever stands in a job file, nothing but a `JobFileError` with places inside the file comes out."""

from __future__ import annotations

import re
import string
from datetime import date, datetime, time
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.model import Job
from taskman_cli.jobfile import JobFile, JobFileError, loads
from taskman_cli.jobfile.keys import DEFAULT_KEYS, JOB_KEYS, POOL_KEYS, TASKMAN_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.tasks import RETRY_KEYS, TASK_KEYS

GOOD = """\
[taskman]
timezone = "Europe/Stockholm"
missed_after = "10s"
[pool]
max_workers = 8
[defaults]
timeout = "1h"
env = { LANG = "C" }
[jobs]
tidy = "@daily find /tmp -mtime +7 -delete"
[jobs.backup]
cron = "30 2 * * *"
command = ["restic", "backup", '/home']
retry = { max = 3, delay = "1m", backoff = 2, # TOML 1.1
  max_delay = "\\x330m", exit_codes = [75],
}
overlap = "allow"
max_running = 2
[jobs.probe]
every = "15s"
[jobs.probe.tasks]
api = "curl -fsS https://example.org/health"
db = { command = ["pg_isready"], timeout = "5s" }
[jobs.report]
at = 2026-12-24T15:00+01:00
command = '''
./report.sh'''
"""


def outcome(text: str) -> JobFile | None:
    """Load a text and check what every outcome promises."""
    try:
        return loads(text, timezone="UTC")
    except JobFileError as caught:
        problems = caught.problems
    assert problems
    lines = re.sub(r"\r+\n", "\n", text.removeprefix("\ufeff")).split("\n")
    for problem in problems:
        assert 1 <= problem.line <= len(lines)
        assert problem.source_line == lines[problem.line - 1]
        assert 1 <= problem.column <= len(problem.source_line) + 1
        assert 1 <= problem.length <= max(1, len(problem.source_line) - problem.column + 1)
        assert problem.message
        assert f":{problem.line}:{problem.column}: " in problem.render().encode().decode()
    return None


def test_the_text_to_start_from_is_good() -> None:
    loaded = outcome(GOOD)
    assert loaded is not None
    assert [job.id for job in loaded.jobs] == ["tidy", "backup", "probe", "report"]


MARKS = ["", '"', "'", "=", "[", "]", "{", "}", "\n", "#", ".", ",", "\\", '"""', "'''", "\0", "\r", "\t"]
PIECES = ["é", "\ufeff", "\u2028", "none", "0", "-1", "1e999", "[jobs.x]\n", "a = 1\n", "[defaults]\n"]
SNIPPETS = st.sampled_from(MARKS) | st.sampled_from(PIECES) | st.text(max_size=4)


@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), SNIPPETS),
        min_size=1,
        max_size=4,
    )
)
def test_edits_of_a_good_text(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for start, length, snippet in edits:
        text = text[:start] + snippet + text[start + length :]
    outcome(text)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text(text: str) -> None:
    outcome(text)


SCHEDULES = ["* * * * *", "0 0 31 2 *", "@daily", "@reboot", "@daily x", "H H * * * x", "* * * * * * x"]
CHOICES = [
    "",
    " ",
    "none",
    "skip",
    "allow",
    "sequence",
    "finish",
    "TERM",
    "UTC",
    "../../x",
    "~/x",
    "~nobody/x",
]
UNITS = ["1h", "5m3", "9" * 30 + "d", "022", "64KiB", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59"]
ODD = ["a\0b", "\x1b[2J", "x" * 300, "💥"]
WORDS = st.sampled_from([*SCHEDULES, *CHOICES, *UNITS, *ODD])
SCALARS = (
    WORDS
    | st.text(alphabet=string.printable, max_size=12)
    | st.integers(-3, 70)
    | st.sampled_from([2**63, 10**30, -(10**30)])
    | st.floats()
    | st.booleans()
    | st.sampled_from([date(2026, 1, 1), time(1, 2), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59)])  # noqa: DTZ001
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def tables(names: Any, **special: Any) -> Any:
    """Make tables whose keys are known ones most of the time, with any value at all."""
    pairs = [st.tuples(st.just(name), special.get(name, ANYTHING) | ANYTHING) for name in names]
    return st.lists(st.one_of(pairs) | st.tuples(st.text(max_size=5), ANYTHING), max_size=6).map(dict)


RETRY = tables(RETRY_KEYS)
EXECUTION = {"retry": RETRY, "env": st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)}
TASKS = st.dictionaries(st.text(max_size=3), tables(TASK_KEYS, **EXECUTION), max_size=2)
JOBS = st.dictionaries(
    st.sampled_from(["a", "b-1", "", "x y"]) | st.text(max_size=4),
    tables(JOB_KEYS, tasks=TASKS, **EXECUTION) | WORDS | ANYTHING,
    max_size=3,
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        # Without include, which would look at files.
        "taskman": tables([name for name in TASKMAN_KEYS if name != "include"]),
        "pool": tables(POOL_KEYS),
        "metrics": tables(METRICS_KEYS),
        "defaults": tables(DEFAULT_KEYS, **EXECUTION),
        "jobs": JOBS,
        "timeout": ANYTHING,
    },
)


@given(FILES)
def test_any_value_under_any_key(tree: dict[str, Any]) -> None:
    loaded = outcome(tomli_w.dumps(tree))
    if loaded is not None:
        assert [job.id for job in loaded.jobs] == list(tree.get("jobs", {}))
        for job in loaded.jobs:
            check(job)


def check(job: Job) -> None:
    """Check what the rest of the program leans on."""
    hash(job.policy)
    assert job.tasks
    assert job.schedule.text
    for task in job.tasks:
        execution = task.execution
        assert task.command
        assert execution.cwd is None or execution.cwd.startswith("/")
        assert execution.timeout_ns is None or execution.timeout_ns > 0
        assert all(type(name) is str and type(value) is str for name, value in execution.env.items())
        assert execution.retry.delay_ns <= execution.retry.max_delay_ns
