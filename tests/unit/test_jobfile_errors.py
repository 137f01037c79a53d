"""What people read when a job file is wrong, word for word."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.model import Durability, Mode, OnCrash, OnMissed, Output, Overlap
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFileError, Problem, loads
from taskman_cli.jobfile.keys import JOB_KEYS, POOL_KEYS, TASKMAN_KEYS, TOP, EveryFrom
from taskman_cli.jobfile.logs import LOGGING_KEYS
from taskman_cli.jobfile.monitoring import METRICS_KEYS
from taskman_cli.jobfile.other_schedulers import VALUES, WORDS
from taskman_cli.jobfile.tasks import RETRY_KEYS, TASK_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection

#: Stands above every text below, so that nothing else is wrong.
#: 30,000 characters of 3 bytes each: two of these are too long for an argument.
LONG = "€" * 30_000
TOO_LONG = "longer than 131,071 bytes, the limit of the system: put it into a script or a file"
JOB = '[jobs.a]\ncommand = "true"\nevery = "1m"\n'


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(JobFileError) as caught:
        loads(text, timezone="UTC")
    return caught.value.problems


def complaints(text: str) -> list[str]:
    return [f"{problem.key}: {problem.message}" for problem in problems(text)]


def test_an_error_looks_as_the_design_says() -> None:
    text = (
        "\n" * 9 + "[jobs.backup]\ncommand = 'true'\ncron = '@daily'\n# here:\n"
        'overlap  = "skp"   # not a word\n'
    )
    assert str(problems(text)[0]) == (
        'jobs.toml:14:12: jobs.backup.overlap: "skp" is not one of skip, queue, allow, replace'
        ' (did you mean "skip"?)\n'
        '   14 | overlap  = "skp"   # not a word\n'
        "      |            ^^^^^"
    )


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n", "\r\r\r\n"], ids=["once", "twice", "three times"])
def test_an_error_has_its_place_however_often_line_ends_were_made_those_of_windows(end: str) -> None:
    text = "[jobs.a]\nevery = '1m'\ncommand = [ # words\n 'a',\n'b']\noverlap = 'skp'\n"
    [problem] = problems(text.replace("\n", end))
    assert (problem.line, problem.column, problem.key) == (6, 11, "jobs.a.overlap")
    assert problem.source_line == "overlap = 'skp'"


def test_a_file_of_carriage_returns_alone_is_refused_at_once() -> None:
    [problem] = problems("x = 1" + "\r" * 1_000_000)
    assert (problem.line, problem.column) == (1, 6)


def test_all_errors_are_reported_from_top_to_bottom_with_the_count_of_valid_jobs() -> None:
    with pytest.raises(JobFileError) as caught:
        loads(
            """\
[taskman]
timezone = "Europe/Stokholm"
[jobs]
good = "@daily true"
late = "61 * * * * true"
[jobs.worse]
evry = "5m"
command = 7
[pool]
max_workers = 0
""",
        )
    assert str(caught.value) == (
        'jobs.toml:2:12: taskman.timezone: "Europe/Stokholm" is not a time zone'
        ' (did you mean "Europe/Stockholm"?)\n'
        '    2 | timezone = "Europe/Stokholm"\n'
        "      |            ^^^^^^^^^^^^^^^^^\n"
        f"jobs.toml:5:9: jobs.late: {caught.value.problems[1].message}\n"
        '    5 | late = "61 * * * * true"\n'
        "      |         ^^\n"
        'jobs.toml:7:1: jobs.worse.evry: unknown key (did you mean "every"?)\n'
        '    7 | evry = "5m"\n'
        "      | ^^^^\n"
        "jobs.toml:8:11: jobs.worse.command: expected a string or an array of strings, got a number\n"
        "    8 | command = 7\n"
        "      |           ^\n"
        "jobs.toml:10:15: pool.max_workers: 0 is out of range: it must be from 1 to 100000\n"
        "   10 | max_workers = 0\n"
        "      |               ^"
    )
    assert (caught.value.jobs, caught.value.exit_code) == (1, 2)
    assert isinstance(caught.value, TaskmanError)


WRONG_VALUES = {
    "overlap = 1": "overlap: expected one of skip, queue, allow, replace, got a number",
    'enabled = "true"': "enabled: expected true or false, got a string: remove the quotes",
    "enabled = 1": "enabled: expected true or false, got a number",
    "description = 1": "description: expected a string, got a number: put it in quotes",
    "description = true": "description: expected a string, got true: put it in quotes",
    "description = ['x']": "description: expected a string, got an array",
    'description = "a\\u0000b"': "description: NUL characters are not allowed",
    "priority = 1.0": "priority: expected a whole number, got a decimal number",
    "priority = true": "priority: expected a whole number, got true",
    'priority = "-3"': "priority: expected a whole number, got a string: remove the quotes",
    "priority = 0xffffffffffffffffff": ("priority: this number is out of range: it must be from -100 to 100"),
    "priority = 101": "priority: 101 is out of range: it must be from -100 to 100",
    "nice = 20": "nice: 20 is out of range: it must be from -20 to 19",
    "max_runs = 1.5": "max_runs: expected a whole number, got a decimal number",
    "max_runs = 0": "max_runs: 0 is out of range: it must be from 1 to 1000000000",
    "max_runs = false": 'max_runs: false is not a limit: write "none" for no limit',
    "tags = 'x'": 'tags: expected an array, got a string: write it as in ["backup"]',
    "tags = ['x', '']": "tags[1]: empty: leave the key out or give it a value",
    'tags = ["a\\u001b[31m"]': "tags[0]: U+001B is not a printable character",
    "timezone = ''": "timezone: empty: leave the key out or give it a value",
    "timeout = 30": (
        'timeout: expected a duration, got a number: write it with a unit, as in "30s"; '
        'write "none" for no limit'
    ),
    "timeout = false": (
        'timeout: expected a duration, got false: write it with a unit, as in "90s"; '
        'write "none" for no limit'
    ),
    "timeout = '0s'": 'timeout: 0s is out of range: it must be from 1ms to 36525d; write "none" for no limit',
    "jitter = 5": 'jitter: expected a duration, got a number: write it with a unit, as in "5s"',
    "kill_timeout = 'none'": None,
    "kill_signal = 'TREM'": 'kill_signal: "TREM" is not a valid signal (did you mean "TERM"?)',
    "kill_signal = 99": "kill_signal: 99 is out of range: it must be from 1 to 64",
    "kill_signal = true": "kill_signal: expected a string, got true: put it in quotes",
    "success_exit_codes = 3": ("success_exit_codes: expected an array, got a number: write it as in [75]"),
    "success_exit_codes = []": "success_exit_codes: empty: name at least one exit code",
    "success_exit_codes = [0, 256]": "success_exit_codes[1]: 256 is out of range: it must be from 0 to 255",
    "retry = '3'": (
        'retry: expected a whole number or a table, got a string: write 3, or { max = 3, delay = "1m" }'
    ),
    "retry = 1.5": (
        "retry: expected a whole number or a table, got a decimal number: write 3, or { max = 3, "
        'delay = "1m" }'
    ),
    "retry = -1": "retry: -1 is out of range: it must be from 0 to 1000000",
    "retry = { delay = '1m' }": "retry: max is missing: set how many times to retry",
    "retry = { max = 1, dleay = '1m' }": 'retry.dleay: unknown key (did you mean "delay"?)',
    "retry = { max = 1, delay = '1m', max_delay = '1s' }": "retry.max_delay: must not be shorter than delay",
    "retry = { max = 1, backoff = nan }": "retry.backoff: nan is out of range: it must be from 1 to 1000",
    "retry = { max = 1, backoff = '2' }": "retry.backoff: expected a number, got a string",
    "cwd = ''": "cwd: empty: leave the key out or name a path",
    "cwd = '~nobody-here/x'": 'cwd: "~nobody-here/x": no such home directory',
    "shell = 'bash'": 'shell: "bash" is not an absolute path: write the shell as in "/bin/bash"',
    "env = ['A=1']": 'env: expected a table, got an array: write it as in { LANG = "C" }',
    "env = { A = 1 }": "env.A: expected a string, got a number: put it in quotes",
    "env = { 'A-B' = '' }": (
        'env.A-B: "A-B" is not a valid variable name: use letters, digits and _, and no digit first'
    ),
    "env_file = [1]": "env_file[0]: expected a string, got a number: put it in quotes",
    "inherit_env = 'LANG'": "inherit_env: expected true, false or an array of names, got a string",
    "inherit_env = ['A=']": (
        'inherit_env[0]: "A=" is not a valid variable name: use letters, digits and _, and no digit first'
    ),
    "umask = '089'": 'umask: "089" is not a valid umask: write octal digits, as in "022"',
    "umask = '0o22'": 'umask: "0o22" is not a valid umask: write octal digits, as in "022"',
    "umask = 22": 'umask: expected a string, got a number: write octal digits in quotes: umask = "022"',
    "umask = 0o22": 'umask: expected a string, got a number: write octal digits in quotes: umask = "022"',
    "output = 'file'": 'output: "file" is not one of capture, inherit, discard (did you mean "capture"?)',
    "max_output = '1 mb'": (
        'max_output: "1 mb" is not a valid size: write bytes, or for example "64KiB" or "10MB" '
        '(did you mean "1MB"?)'
    ),
    "max_output = '64k'": (
        'max_output: "64k" is not a valid size: write bytes, or for example "64KiB" or "10MB" '
        '(did you mean "64KiB"?)'
    ),
    "max_output = 'much'": (
        'max_output: "much" is not a valid size: write bytes, or for example "64KiB" or "10MB"'
    ),
    "overlap = 'Forbid'": (
        'overlap: "Forbid" is not one of skip, queue, allow, replace (did you mean "skip"?)'
    ),
    "overlap = 'kill'": 'overlap: "kill" is not one of skip, queue, allow, replace (did you mean "replace"?)',
    "overlap = 'xyzzy'": 'overlap: "xyzzy" is not one of skip, queue, allow, replace',
    "on_missed = 'catch-up'": 'on_missed: "catch-up" is not one of skip, once, all (did you mean "once"?)',
    "timeout = '5 mintues'": (
        'timeout: "mintues" is not one of the units w d h m s ms (did you mean "minutes"?)'
    ),
    "timeout = '5\u00a0minutes'": (
        "timeout: no-break space (U+00A0) does not belong in a duration: write a space"
    ),
    "timeout = '\u20135m'": "timeout: en dash (U+2013) does not belong in a duration: write -",
    "max_output = '2TiB'": "max_output: 2TiB is out of range: it must be from 1 to 1TiB",
    "max_output = 1.5": (
        'max_output: expected a size, got a decimal number: write bytes, or for example "64KiB" or "10MB"'
    ),
    "keep_runs = 0": "keep_runs: 0 is out of range: it must be from 1 to 1000000",
    "keep_for = '59s'": (
        'keep_for: 59s is out of range: it must be from 1m to 36525d; write "none" for no limit'
    ),
    "skip_exit_codes = [0, 9]": (
        "skip_exit_codes: 0 is in success_exit_codes too: an exit code means one thing"
    ),
    "only_if_timeout = '3s'": "only_if_timeout: only valid with only_if",
    "park_for = '1h'": 'park_for: only valid with max_failures or on_crash = "park"',
    "max_failures = 0": "max_failures: 0 is out of range: it must be from 1 to 1000000000",
    "on_crash = 'retry'": 'on_crash: "retry" is not one of report, rerun, park (did you mean "rerun"?)',
    "starts_at = 2026-12-24": (
        "starts_at: expected a date-time, got a date: add the time, as in 2026-12-24T00:00:00"
    ),
    "starts_at = 12:00:00": "starts_at: expected a date-time, got a time",
    "schedule = '@daily'": 'schedule: unknown key (did you mean "cron"?)',
    "Working-Directory = '/'": 'Working-Directory: unknown key (did you mean "cwd"?)',
    "retries = 3": 'retries: unknown key (did you mean "retry"?)',
    "sinks = ['x']": "sinks[0]: unknown sink: declare it as [sinks.x]",
    "sinks = 'x'": 'sinks: expected an array, got a string: write it as in ["ops"], or [] for none',
    "expect_every = '5'": 'expect_every: add a unit to the number: "5s" is seconds',
    "after = 'b'": (
        "after: unknown key: jobs cannot wait for other jobs: make the steps tasks of one job "
        'with mode = "sequence"'
    ),
    "dependsOn = ['b']": (
        "dependsOn: unknown key: jobs cannot wait for other jobs: make the steps tasks of one job "
        'with mode = "sequence"'
    ),
    "disabled = true": "disabled: unknown key: write enabled = false",
    "name = 'x'": "name: unknown key: the job's name goes into its heading: [jobs.NAME]",
    "args = ['x']": "args: only valid with an executor of type python",
    "singleton = true": 'singleton: unknown key: write overlap = "skip"',
    "startingDeadlineSeconds = 5": 'startingDeadlineSeconds: unknown key (did you mean "start_deadline"?)',
    "resources = { db = 1 }": "resources.db: unknown resource: declare it in [pool.resources]",
    "resources = 3": "resources: expected a table, got a number: write it as in { db = 1 }",
    "resources = { ram = 'many' }": (
        'resources.ram: "many" is not a valid size: write bytes, or for example "64KiB" or "10MB"'
    ),
    "resources = { 'a b' = 1 }": (
        'resources."a b": "a b" is not a valid resource name: use up to 64 letters, digits, _ and -, '
        "and start with a letter or digit"
    ),
}


@pytest.mark.parametrize(("line", "expected"), WRONG_VALUES.items(), ids=list(WRONG_VALUES))
def test_a_wrong_value_is_explained(line: str, expected: str | None) -> None:
    found = complaints(JOB + line)
    assert len(found) == 1
    if expected is not None:
        assert found == [f"jobs.a.{expected}"]


TOGETHER = {
    "[jobs.a]\ncommand = 'x'": ["jobs.a: the schedule is missing: add one of cron, every, at"],
    "[jobs.a]\nevery = '1s'": ["jobs.a: the command is missing: add one of command, tasks, call"],
    JOB + "cron = '@daily'": [
        "jobs.a.cron: a second schedule besides every: keep only one of cron, every, at"
    ],
    JOB + "tasks = { b = 'x' }": [
        "jobs.a.tasks: a second command besides command: keep only one of command, tasks, call"
    ],
    "[jobs.a]\ncron = '@daily'\ncommand = 'x'\nevery_from = 'finish'": [
        "jobs.a.every_from: only valid with every"
    ],
    JOB + "mode = 'sequence'": ["jobs.a.mode: only valid with tasks"],
    JOB + "max_running = 2": ['jobs.a.max_running: only valid with overlap = "allow"'],
    JOB + "starts_at = 2026-01-02T00:00:00\nexpires_at = 2026-01-02T00:00:00": [
        "jobs.a.expires_at: must be after starts_at: the job would never run"
    ],
    "[defaults]\nexpires_at = 2026-01-02T00:00:00\n" + JOB + "starts_at = 2026-01-03T00:00:00": [
        "jobs.a.starts_at: must be before expires_at: the job would never run"
    ],
    "[jobs.a]\nat = 2026-01-02T00:00:00\ncommand = 'x'\nexpires_at = 2026-01-02T00:00:00": [
        "jobs.a.at: not between starts_at and expires_at: the job would never run"
    ],
    "[jobs.a]\nevery = '1s'\ncommand = ['x']\nshell = '/bin/bash'": [
        "jobs.a.shell: no effect: an array runs without a shell; write command as a string"
    ],
    "[jobs.a]\nevery = '1s'\ncommand = ''": ["jobs.a.command: empty: leave the key out or give it a value"],
    f"[jobs.a]\nevery = '1s'\ncommand = '/bin/echo {LONG} {LONG}'": [f"jobs.a.command: {TOO_LONG}"],
    f"[jobs.a]\nevery = '1s'\ncommand = ['x', '{LONG}{LONG}']": [f"jobs.a.command[1]: {TOO_LONG}"],
    f"[jobs]\na = '@daily {LONG}{LONG}'": [f"jobs.a: {TOO_LONG}"],
    JOB + f"env = {{ A = '{LONG}{LONG}' }}": [f"jobs.a.env.A: {TOO_LONG}"],
    "[jobs.a]\nevery = '1s'\ncommand = []": ["jobs.a.command: empty: write a command"],
    "[jobs.a]\nevery = '1s'\ncommand = ['', 1]": [
        "jobs.a.command[0]: empty: leave the key out or give it a value",
        "jobs.a.command[1]: expected a string, got a number: put it in quotes",
    ],
    "[jobs.a]\nevery = '1s'\ntasks = {}": ["jobs.a.tasks: empty: a job needs at least one task"],
    "[jobs.a]\nevery = '1s'\ntasks = 'x'": [
        'jobs.a.tasks: expected a table, got a string: write it as in { main = "true" }'
    ],
    "[jobs.a]\nevery = '1s'\ntasks = { b = { timeout = '1s' }, 'c.d' = 'x' }": [
        "jobs.a.tasks.b: the command is missing",
        'jobs.a.tasks."c.d": "c.d" is not a valid task name: '
        "use up to 64 letters, digits, _ and -, and start with a letter or digit",
    ],
    "[jobs.a]\nevery = '1s'\ntasks = { b = { command = ['x'], shell = '/bin/sh', overlap = 'skip' } }": [
        "jobs.a.tasks.b.shell: no effect: an array runs without a shell; write command as a string",
        "jobs.a.tasks.b.overlap: unknown key",
    ],
    "[jobs]\na = 5": ["jobs.a: expected a job, got a number: write a table, or a crontab line in quotes"],
    "[[jobs.a]]\ncommand = 'x'": [
        "jobs.a: expected a job, got an array: write a table, or a crontab line in quotes"
    ],
    "[jobs.'a b']\nevery = '1s'\ntimeout = '5x'\ntasks = { 'c.d' = { command = 'x', cwd = 5 } }": [
        'jobs."a b": "a b" is not a valid job name: '
        "use up to 64 letters, digits, _ and -, and start with a letter or digit",
        'jobs."a b".timeout: "x" is not one of the units w d h m s ms',
        'jobs."a b".tasks."c.d": "c.d" is not a valid task name: '
        "use up to 64 letters, digits, _ and -, and start with a letter or digit",
        'jobs."a b".tasks."c.d".cwd: expected a string, got a number: put it in quotes',
    ],
    "[jobs]\n'-a' = '@daily x'": [
        'jobs.-a: "-a" is not a valid job name: '
        "use up to 64 letters, digits, _ and -, and start with a letter or digit"
    ],
    "jobs = 5": ["jobs: expected a table, got a number: write [jobs] above its keys"],
    "defaults = 5": ["defaults: expected a table, got a number: write [defaults] above its keys"],
    "[job.a]": ['job: unknown key (did you mean "jobs"?)'],
    "timeout = '1s'": [
        "timeout: misplaced: it belongs in [jobs.NAME] or [defaults], not at the top of the file"
    ],
    "max_workers = 1": ["max_workers: misplaced: it belongs in [pool], not at the top of the file"],
    "[resources]\ndb = 1": ["resources: misplaced: it belongs in [pool], not at the top of the file"],
    "refresh = '1s'": ["refresh: misplaced: it belongs in [taskman], not at the top of the file"],
    "[taskman]\nmax_workers = 1": ["taskman.max_workers: belongs in [pool]"],
    "[taskman]\nageing = '1m'": ["taskman.ageing: belongs in [pool]"],
    "[taskman]\nspawn_retry = '5s'\nspawn_retry_max = '1s'": [
        "taskman.spawn_retry_max: must not be shorter than spawn_retry"
    ],
    "[taskman]\nmissed_after = '0s'\nclock_step = '99ms'\nrefresh = '0s'": [
        "taskman.missed_after: 0s is out of range: it must be from 100ms to 36525d",
        "taskman.clock_step: 99ms is out of range: it must be from 100ms to 36525d",
        "taskman.refresh: 0s is out of range: it must be from 50ms to 36525d",
    ],
    "[taskman]\nspawn_retry = '9ms'\nrestart_delay = '0s'": [
        "taskman.spawn_retry: 9ms is out of range: it must be from 10ms to 36525d",
        "taskman.restart_delay: 0s is out of range: it must be from 10ms to 36525d",
    ],
    "[taskman]\nspawn_retry_max = '0s'\nrestart_delay_max = '1ms'": [
        "taskman.spawn_retry_max: 0s is out of range: it must be from 10ms to 36525d",
        "taskman.restart_delay_max: 1ms is out of range: it must be from 10ms to 36525d",
    ],
    "[pool]\nmin_workers = 1": ['pool.min_workers: unknown key (did you mean "max_workers"?)'],
    "[defaults]\ncron = '@daily'": [
        "defaults.cron: not allowed in [defaults]: each job needs its own schedule"
    ],
    "[defaults]\ncommand = 'x'": ["defaults.command: not allowed in [defaults]: set it in each job"],
    "[defaults]\nstarts_at = 2026-01-02T00:00:00\nexpires_at = 2026-01-01T00:00:00\n" + JOB: [
        "defaults.expires_at: must be after starts_at: the job would never run"
    ],
    # What is missing only because a key is mistyped is not told, too.
    "[jobs.a]\nevery = '1s'\ncomand = 'x'": ['jobs.a.comand: unknown key (did you mean "command"?)'],
    "[jobs.a]\nevery = '1s'\ncmd = 'x'": ['jobs.a.cmd: unknown key (did you mean "command"?)'],
    "[jobs.a]\ncrn = '@daily'\ncommand = 'x'": ['jobs.a.crn: unknown key (did you mean "cron"?)'],
    "[jobs.a]\nschedule = '@daily'\ncommand = 'x'": ['jobs.a.schedule: unknown key (did you mean "cron"?)'],
    JOB + "schedule = '@daily'": ['jobs.a.schedule: unknown key (did you mean "cron"?)'],
    "[jobs.a]\nevry = '1s'\nevery_from = 'finish'\ncommand = 'x'": [
        'jobs.a.evry: unknown key (did you mean "every"?)'
    ],
    JOB + "overlp = 'allow'\nmax_running = 2": ['jobs.a.overlp: unknown key (did you mean "overlap"?)'],
    "[jobs.a]\nevery = '1s'\ntsks = { b = 'x' }\nmode = 'sequence'": [
        'jobs.a.tsks: unknown key (did you mean "tasks"?)'
    ],
    "[jobs.a]\nevery = '1s'\ntasks = { b = { comand = 'x' } }": [
        'jobs.a.tasks.b.comand: unknown key (did you mean "command"?)'
    ],
    JOB + "retry = { times = 3 }": ['jobs.a.retry.times: unknown key (did you mean "max"?)'],
    "[jobs.a]\nxyzzy = '1s'\ncommand = 'x'": [
        "jobs.a: the schedule is missing: add one of cron, every, at",
        "jobs.a.xyzzy: unknown key",
    ],
    "[settings]": ['settings: unknown key (did you mean "taskman"?)'],
    "[workers]": ['workers: unknown key (did you mean "pool"?)'],
    "[default]": ['default: unknown key (did you mean "defaults"?)'],
    "[pool.resources]\ndb = 2\napi = { rate = '1/s', burst = 3 }\n"
    "[defaults]\nresources = { apii = 1 }\n"
    "[jobs.a]\nevery = '1s'\nresources = { db = 3 }\n"
    "tasks = { b = { command = 'x', resources = { api = 4 } } }": [
        'defaults.resources.apii: unknown resource (did you mean "api"?): declare it in [pool.resources]',
        "jobs.a.resources.db: more than there is: [pool.resources] has 2, so it would never start",
        "jobs.a.tasks.b.resources.api: more than the burst of 3 in [pool.resources]: it would never start",
    ],
    # 238 years are more than the ledger can record.
    "[pool.resources]\na = { rate = '1/w', burst = 20_000 }\nb = { rate = '3/36525d', burst = 3 }": [
        "pool.resources.a.burst: takes more than a hundred years to fill: the most that fills in that time "
        "at this rate is 5,217"
    ],
    # With a fault in what there is, what is needed cannot be judged.
    "[pool.resources]\ndb = 0\n" + JOB + "resources = { db = 1 }": [
        "pool.resources.db: 0 is out of range: it must be from 1 to 1000000000"
    ],
    "[pool.resources]\na = {}\nb = { burst = 1 }\nc = 'x'\nd = { rate = '1/y' }\ne = { rate = '0/s' }\n"
    "f = { rate = 'often' }\ng = { rate = 3 }\nh = { limt = 3 }\nram = { limit = 1 }": [
        "pool.resources.a: empty: set limit, rate, or both",
        "pool.resources.b.burst: only valid with rate",
        "pool.resources.c: expected a whole number or a table, got a string: write 2, or "
        '{ limit = 2, rate = "60/m", burst = 10 }',
        'pool.resources.d.rate: "y" is not one of the units w d h m s ms: months and years differ in length, '
        "so use days",
        "pool.resources.e.rate: 0 is out of range: it must be from 1 to 1000000000",
        'pool.resources.f.rate: "often" is not a valid rate: write starts per time, as in "60/m" or "5/10s"',
        'pool.resources.g.rate: expected a rate, got a number: write starts per time, as in "60/m"',
        'pool.resources.h.limt: unknown key (did you mean "limit"?)',
        'pool.resources.ram: expected a size, got a table: write bytes, or for example "64KiB" or "10MB"',
    ],
    "[pool]\nresources = 3": ["pool.resources: expected a table, got a number: write it as in { db = 2 }"],
    "[pool.admission_tuning]\nretry = '2s'\npressure = 2\nlook_grow = 1": [
        "pool.admission_tuning.pressure: 2 is out of range: it must be from 0 to 1",
        'pool.admission_tuning.look_grow: unknown key (did you mean "look_growth"?)',
    ],
    "[pool.admission_tuning]\nretry = '2s'": [
        "pool.admission_tuning.retry: must not be longer than retry_max"
    ],
    "[pool.admission_tuning]\nlook_last = '100ms'": [
        "pool.admission_tuning.look_last: must not be shorter than look"
    ],
    "[pool]\nadmission_tuning = 3\nadmission = 'automatic'": [
        "pool.admission_tuning: expected a table, got a number: write it as in { runnable_per_cpu = 2 }",
        'pool.admission: "automatic" is not one of auto, fixed',
    ],
    "[pool]\nworkers = 3": ['pool.workers: unknown key (did you mean "max_workers"?)'],
}


@pytest.mark.parametrize(("text", "expected"), TOGETHER.items(), ids=list(TOGETHER))
def test_conflicting_keys_are_explained(text: str, expected: list[str]) -> None:
    assert sorted(complaints(text)) == sorted(expected)


LINES = {
    "": "not a crontab line: write five fields or an @word, and a command, as in",
    "@daily": "not a crontab line: write five fields or an @word, and a command, as in",
    "1 2 * * *": "not a crontab line: write five fields or an @word, and a command, as in",
    "*/5 * * * * * x": "six fields: a crontab line has five; for seconds or years, write a table",
    "0 0 1 1 * 1-5,7 x": "six fields: a crontab line has five; for seconds or years, write a table",
    "30 2 * * * root /bin/backup": "this looks like a line of /etc/crontab with a user name: remove root",
    "17 * * * * root    cd / && x": "this looks like a line of /etc/crontab with a user name: remove root",
    "@daily root /bin/backup": "this looks like a line of /etc/crontab with a user name: remove root",
    "0 9 * *\u00a0* echo x": "no-break space (U+00A0) in the schedule: write a space",
    "0 9 * * *\u00a0echo x": "no-break space (U+00A0) in the schedule: write a space",
    "0 9 * * 1\u20135 echo x": "en dash (U+2013) in the schedule: write -",
    "@every 90m": "not a crontab line: write five fields or an @word, and a command, as in",
    "@every 1h 30m echo x": 'an interval is one word here: write "1h30m"',
    "@every 5 echo x": '@every: add a unit to the number: "5s" is seconds',
    "@every 1ms echo x": '@every: "1ms" is not between 10ms and 36525d',
    "@every_5m echo x": '"@every_5m" is not one of @hourly',
    "@minutely echo x": (
        '"@minutely" is not one of @hourly @daily @midnight @weekly @monthly @yearly @annually @reboot '
        '(write "* * * * *")'
    ),
}


@pytest.mark.parametrize(("line", "expected"), LINES.items(), ids=list(LINES))
def test_an_invalid_job_on_one_line_is_explained(line: str, expected: str) -> None:
    found = problems(f"[jobs]\na = '{line}'")
    assert [problem.message[: len(expected)] for problem in found] == [expected]


def test_the_user_of_a_system_crontab_is_pointed_at() -> None:
    (problem,) = problems("[jobs]\na = '30 2 * * *  root /bin/backup'")
    assert (problem.column, problem.length) == (18, 4)


@pytest.mark.parametrize(
    ("value", "column", "length"),
    [('"1h30x"', 16, 1), ("'1h30x'", 16, 1), ('"1h30\\u0078"', 11, 12), ("'''1h30x'''", 11, 11)],
    ids=["basic", "literal", "escaped", "long"],
)
def test_the_caret_is_inside_the_string_where_the_string_is_as_it_looks(
    value: str, column: int, length: int
) -> None:
    (problem,) = problems(f"{JOB}timeout = {value}")
    assert (problem.line, problem.column, problem.length) == (4, column, length)


SYNTAX = {
    "a = \n": (1, "a value is missing"),
    "a = [1,\n\n": (1, "a value is missing"),
    "a = yes\n": (1, "not a valid value: put text in quotes"),
    'a = "x\n': (1, "the string must end on the same line"),
    "a = 'x": (1, "the string is not closed"),
    'a = """x\n': (1, "the string is not closed"),
    'a = "\\q"\n': (1, "a lone backslash: double it, or put the string into 'single quotes'"),
    "a = { b = 1\n": (1, "the inline table is not closed, or a comma is missing"),
    "a = [1 2]\n": (1, "the array is not closed, or a comma is missing"),
    "\na = [1, # ]\n2\n# ,\nb = 2": (
        3,
        "the array that begins in line 2 is not closed, or a comma is missing",
    ),
    "a = { b = [1, # }\n] # }\n[c]": (
        2,
        "the inline table that begins in line 1 is not closed, or a comma is missing",
    ),
    "a = { b = 1,\nc = '''\n}''' d = 2 }": (
        3,
        "the inline table that begins in line 1 is not closed, or a comma is missing",
    ),
    "a = { b = 1,\n[c]": (1, "the inline table is not closed, or a comma is missing"),
    "a = {\n\n": (1, "the inline table is not closed, or a comma is missing"),
    "a = { b = 1,\nc = 2,\n": (
        2,
        "the inline table that begins in line 1 is not closed, or a comma is missing",
    ),
    "a = { b = 1,, c = 2 }": (1, "not a valid key: put it in quotes if it is meant to be one"),
    "a = { b = 1,\n.c = 2 }": (2, "not a valid key: put it in quotes if it is meant to be one"),
    "a = { b\n= 1 }": (1, "= is missing after the key"),
    'a = "\\x4"\n': (1, "invalid hex value"),
    "a = 10:61\n": (1, "unexpected text after the value"),
    "[a\n": (1, "] is missing after the table's name"),
    "a b\n": (1, "= is missing after the key"),
    "= 3\n": (1, "expected a key or a [table]"),
    "a. = 3\n": (1, "not a valid key: put it in quotes if it is meant to be one"),
    "a = 1 b = 2\n": (1, "unexpected text after the value"),
    "a = 2026-02-30T00:00:00\n": (1, "no such date or time"),
    'a = "\x01"\n': (1, "character '\\x01' is not allowed here"),
    "a = 1\r\n\r\na = 2\r\n": (3, "this is already defined above"),
    "[jobs.a]\n[jobs.a]\n": (2, "jobs.a is already defined above"),
    "a = { b = 1, b = 2 }\n": (1, "key 'b' is already defined"),
    "a = { b = 1 }\n[a.c]\n": (2, "a.c is already defined above"),
    "a = []\n[[a]]\n": (2, "a is already complete: nothing can be added to it here"),
    f"a = {'[' * 5000}": (1, "nested too deeply"),
    f"a = {'[' * 300}{']' * 300}\n": (1, "nested too deeply"),
    f"[a]\nb = {'{ c = [' * 50}{']}' * 50}\n": (2, "nested too deeply"),
    f"a = 1\n{'b.' * 150}b = 1": (2, "nested too deeply"),
    f"a = 1\n[{'b.' * 99}b]": (2, "nested too deeply"),
    f"a = 1\n[[{'b.' * 98}b]]": (2, "nested too deeply"),
    f"a = 1 # [{{\n[{'a.' * 1500}b]": (2, "a key of more than 200 parts"),
    f"\na = {'9' * 5000}": (2, "the number has too many digits"),
}


@pytest.mark.parametrize(("text", "expected"), SYNTAX.items(), ids=[repr(text[:20]) for text in SYNTAX])
def test_broken_toml_is_explained(text: str, expected: tuple[int, str]) -> None:
    (problem,) = problems(text)
    assert ((problem.line, problem.message), problem.key) == (expected, "")
    assert 1 <= problem.column <= len(problem.source_line or "") + 1


@pytest.mark.parametrize(
    "text",
    [
        f"a = {'[' * 99}{']' * 99}",
        f"{'b.' * 99}b = 1",
        f"[{'b.' * 98}b]",
        f"[[{'b.' * 97}b]]",
        f"a={'{b=' * 99}1{'}' * 99}",
    ],
)
def test_what_is_not_nested_too_deeply_is_read(text: str) -> None:
    assert [problem.key for problem in problems(text)] == [text.lstrip("[")[0]]


def test_the_place_of_what_is_nested_too_deeply_is_shown() -> None:
    (problem,) = problems(f"a = [1, {'[' * 99} ']' {']' * 99}]")
    assert (problem.line, problem.column, problem.length) == (1, 5 + 4 + 98, len("[ ']' ]"))
    (problem,) = problems(f"[{'b.' * 99}bcd]")
    assert (problem.line, problem.column, problem.length) == (1, 2 + 2 * 99, 3)


@pytest.mark.parametrize(
    ("text", "column", "length"), [("a = [1,\n  2\n\n [3],\n 4 5]", 4, 1), ("a = [1, 2\n\n# x\n", 10, 1)]
)
def test_what_is_not_closed_is_shown_after_its_last_item(text: str, column: int, length: int) -> None:
    (problem,) = problems(text)
    assert (problem.column, problem.length) == (column, length)


def test_carets_stand_below_tabs_wide_characters_and_a_long_line() -> None:
    wide = problems("[jobs.a]\nevery = '1s'\ncommand = 'x'\n\tenv = { B = '火', A = 1 }")[0]
    assert wide.render().splitlines()[1:] == [
        "    4 | \tenv = { B = '火', A = 1 }",
        "      | \t                      ^",
    ]
    long = problems(f"{JOB}env = {{ B = '{'x' * 1000}', A = 1, C = '{'y' * 1000}' }}")[0].render()
    _, source, carets = long.splitlines()
    assert source[carets.index("^")] == "1"
    assert len(source) < 180


def test_a_long_line_number_moves_the_carets_along() -> None:
    assert problems("\n" * 123_455 + "a = ?")[0].render().splitlines()[1:] == [
        "123456 | a = ?",
        "       |     ^",
    ]


def test_a_long_value_is_cut_in_the_message() -> None:
    (problem,) = problems(f"{JOB}overlap = '{'x' * 100}'")
    assert problem.message == f'"{"x" * 59}…" is not one of skip, queue, allow, replace'


def test_an_invalid_default_is_reported_once_and_not_for_each_job() -> None:
    default = (
        "[defaults]\nexpires_at = 2026-01-01T00:00:00\nstarts_at = 2026-01-01T00:00:00\noverlap = 'no'\n"
    )
    assert complaints(f"{default}{JOB}max_runs = 1\nshell = '/bin/sh'") == [
        "defaults.expires_at: must be after starts_at: the job would never run",
        'defaults.overlap: "no" is not one of skip, queue, allow, replace (did you mean "skip"?)',
    ]
    assert complaints(f"{JOB}overlap = 'alow'\nmax_running = 2") == [
        'jobs.a.overlap: "alow" is not one of skip, queue, allow, replace (did you mean "allow"?)'
    ]


def test_times_in_the_past_are_not_errors() -> None:
    past = "2001-01-01T00:00:00Z"
    text = f"[defaults]\nexpires_at = {past}\n{JOB}[jobs.b]\nat = {past}\ncommand = 'x'\nexpires_at = 'none'"
    assert len(loads(f"{text}\n[jobs.c]\nat = 2000-01-01T00:00:00Z\ncommand = 'x'").jobs) == 3


AT = {
    "tomorrow noon": '"tomorrow noon" means a different time whenever the file is read: '
    'write "2026-11-25T12:00:00+01:00", its value now',
    "now + 90 minutes": '"now + 90 minutes" means a different time whenever the file is read: '
    'write "2026-11-24T11:47:00+01:00", its value now',
    "2h": '"2h" means a different time whenever the file is read: '
    'write "2026-11-24T12:17:42+01:00", its value now',
    "2027-01-01": "expected a date-time, got a date: add the time, as in 2027-01-01T00:00:00",
    "2020-01-01": "expected a date-time, got a date: add the time, as in 2020-01-01T00:00:00",
    "2027-02-30": "no such day: 30; February 2027 has 28 days",
    "noon today - 1 day": "2026-11-23 12:00 is in the past: it is now 2026-11-24 10:17",
    "nonsense": '"nonsense" is not a known word for a time',
    "noon Feb 30 2027": "no such day: 30; February 2027 has 28 days",
}


@pytest.mark.parametrize(("text", "message"), AT.items(), ids=list(AT))
def test_a_time_relative_to_now_is_rejected_with_the_instant_to_write(text: str, message: str) -> None:
    now = datetime.fromisoformat("2026-11-24T10:17:42+01:00")
    with pytest.raises(JobFileError) as caught:
        loads(f"[jobs.a]\nat = '{text}'\ncommand = 'x'", timezone="Europe/Stockholm", now=now)
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)


def test_without_a_clock_the_fix_is_an_example() -> None:
    assert complaints("[jobs.a]\nat = 'noon'\ncommand = 'x'") == [
        'jobs.a.at: "noon" means a different time whenever the file is read: '
        'write it in full, as in "2026-12-24T15:00"'
    ]


def test_the_column_of_a_wrong_time_is_pointed_at() -> None:
    (problem,) = problems("[jobs.a]\nat = 'noon Feb 30 2027'\ncommand = 'x'")
    assert (problem.line, problem.column) == (2, 12)


def test_an_instant_outside_the_calendar_is_explained() -> None:
    text = "[jobs.a]\ncommand = 'x'\ntimezone = 'Asia/Tokyo'\nat = 9999-12-31T23:00:00Z"
    assert complaints(text) == ["jobs.a.at: at is outside the years 1 to 9999"]


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    (problem,) = problems('a = "\x1b]0;owned\x07"')
    assert [char for char in problem.render() if char < " " and char != "\n"] == []


TABLES: dict[str, Collection[str]] = {
    "job": JOB_KEYS,
    "task": TASK_KEYS,
    "retry": RETRY_KEYS,
    "pool": POOL_KEYS,
    "taskman": TASKMAN_KEYS,
    "logging": LOGGING_KEYS,
    "metrics": METRICS_KEYS,
    "top": TOP,
}


@pytest.mark.parametrize("table", TABLES)
def test_words_of_other_schedulers_are_not_keys_and_suggest_one_key_of_a_table(table: str) -> None:
    known = TABLES[table]
    words = [word for ours, words in WORDS.items() if ours in known for word in words.split()]
    assert len(words) == len(set(words))
    assert set() == {key.replace("_", "") for key in known} & set(words)


def test_words_of_other_schedulers_suggest_existing_keys() -> None:
    keys = {key for known in TABLES.values() for key in known}
    assert WORDS.keys() - keys == {"after"}  # that of a later version, for which there is a note
    choices = {
        kind.__name__: kind for kind in (Overlap, OnMissed, OnCrash, Mode, Output, EveryFrom, Durability)
    }
    assert choices.keys() == VALUES.keys()
    for name, values in VALUES.items():
        known = {member.value for member in choices[name]}
        words = [word for words in values.values() for word in words.split()]
        assert values.keys() <= known
        assert len(words) == len(set(words))
        assert set() == known & set(words)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        (
            "[jobs.a]\ncommand = \u201cx\u201d",
            11,
            'left double quotation mark (U+201C) is not allowed in TOML: write "',
        ),
        ("[jobs.a]\ncommand\u00a0= 'x'", 8, "no-break space (U+00A0) is not allowed in TOML: write a space"),
        (
            "[jobs.a]\n\u200bcommand = 'x'",
            1,
            "zero width space (U+200B) is not allowed in TOML: remove it",
        ),
    ],
    ids=["quotes", "blank", "nothing to be seen"],
)
def test_characters_that_look_like_others_are_named(text: str, column: int, message: str) -> None:
    (problem,) = problems(text)
    assert (2, column, message) == (problem.line, problem.column, problem.message)


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ('cron = "0 61 * * *"', "61"),
        ('cron = "0  0 \t 30,31 2 *"', "30,31"),
        ("cron = '* 1,25 * * *'", "25"),
        ('cron = "  0 61 * * * *"', "61"),
        ('cron = "1 2 3"', '"1 2 3"'),
        ('cron = "@dayly"', '"@dayly"'),
        ('cron = "0 0 31 2 \\u002a"', '"0 0 31 2 \\u002a"'),
    ],
)
def test_an_error_in_a_cron_expression_is_marked_where_it_is(line: str, marked: str) -> None:
    with pytest.raises(JobFileError) as caught:
        loads(f"[jobs.a]\n{line}\ncommand = 'x'\n")
    [problem] = caught.value.problems
    source, marks = str(problem).splitlines()[1:]
    assert marked == source[marks.index("^") : marks.rindex("^") + 1]
