"""`taskman import` of the files of other schedulers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.jobfile import loads
from taskman_cli.jobfile.foreign.calendar import NotACalendar, to_cron
from taskman_cli.jobfile.foreign.convert import Converter
from taskman_cli.jobfile.foreign.inputs import Input
from taskman_cli.jobfile.foreign.write import to_toml

if TYPE_CHECKING:
    from collections.abc import Callable

#: A Monday.
START = "2027-02-01T00:00:00"

TIMER = """\
[Unit]
Description=Sweep every night

[Timer]
OnCalendar=Mon..Fri 02:30
Persistent=true
RandomizedDelaySec=10min
[Install]
WantedBy=timers.target
"""
SERVICE = """\
[Unit]
Description=Sweep the floor
OnFailure=alarm@%n.service
[Service]
Type=oneshot
User=nobody
WorkingDirectory=/srv
Environment="NAME=a b" MODE=wet
EnvironmentFile=-/no/such/file
ExecStartPre=-/bin/mkdir -p "/run/%N"
ExecStart=/usr/bin/env sweep --name ${NAME} $MODE "it's" \\
    --all 100%%
TimeoutStartSec=1h 30min
SuccessExitStatus=3 DATAERR SIGKILL
Nice=5
PrivateTmp=true
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def imported(*paths: Path) -> tuple[dict[str, Any], str]:
    """Import, check that the result is a job file, and return its tables and what was said."""
    code, out, err = run("import", *map(str, paths))
    assert code == 0, err
    loads(out, is_run_here=False)
    return tomllib.loads(out), err


def one(tables: dict[str, Any]) -> dict[str, Any]:
    """Return the only job with all of its keys."""
    (job,) = tables["jobs"].values()
    return {**tables["defaults"], **job, "env": {**tables["defaults"].get("env", {}), **job.get("env", {})}}


# --- systemd ---


def test_a_timer_is_converted_with_the_service_beside_it(write: Callable[[str, str], Path]) -> None:
    timer = write("sweep.timer", TIMER)
    write("sweep.service", SERVICE)
    tables, err = imported(timer)
    assert one(tables) == {
        "description": "Sweep the floor",
        "cron": "30 2 * * MON-FRI",
        "command": "{ /bin/mkdir -p /run/sweep || true; } &&\n"
        "/usr/bin/env sweep --name \"${NAME}\" $MODE 'it'\"'\"'s' --all 100%",
        "user": "nobody",
        "cwd": "/srv",
        "nice": 5,
        "timeout": "1h30m",
        "success_exit_codes": [0, 3, 65],
        "jitter": "10m",
        "overlap": "skip",
        "on_missed": "once",
        "start_deadline": "none",
        "inherit_env": False,
        "env": {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "NAME": "a b",
            "MODE": "wet",
        },
    }
    for said in (
        "EnvironmentFile=-/no/such/file does not exist here: left out",
        "sweep.service: other units are left alone: OnFailure=alarm@%n.service",
        "taskman makes no sandbox and no directories: PrivateTmp",
        "SuccessExitStatus=: SIGKILL counts as a failure here",
        "RandomizedDelaySec=: the delay is always the same for the same slot",
    ):
        assert said in err


def test_the_command_of_a_service_runs_as_systemd_would_run_it(write: Callable[[str, str], Path]) -> None:
    exec_line = r"""ExecStart=/usr/bin/printf '%%s|' ${A} $A "$$HOME" 'x y' \x41\tb ${B}c"""
    text = f'[Timer]\nOnCalendar=daily\n[Service]\nEnvironment="A=1 2" B=*\n{exec_line}\n'
    job = one(imported(write("p.timer", text))[0])
    out = subprocess.run(["/bin/sh", "-c", job["command"]], env=job["env"], capture_output=True, text=True)
    assert out.stdout == "1 2|1|2|$HOME|x y|A\tb|*c|"


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ("OnBootSec=5min\nOnUnitActiveSec=1d", {"every": "1d", "run_on_start": True}),
        ("OnUnitInactiveSec=90", {"every": "1m30s", "every_from": "finish"}),
        ("OnBootSec=2min", {"cron": "@reboot", "command": "sleep 120 && { /bin/true\n}"}),
        ("OnCalendar=weekly\nOnCalendar=\nOnCalendar=hourly UTC", {"cron": "0 * * * *", "timezone": "UTC"}),
        ("OnCalendar=*-*~01 04:00", {"cron": "0 4 L * *"}),
        ("OnCalendar=Sun *-*-01..07 3:00", {"cron": "0 3 * * SUN#1"}),
    ],
)
def test_the_times_of_a_timer_become_a_schedule(
    write: Callable[[str, str], Path], settings: str, keys: dict[str, Any]
) -> None:
    timer = write("t.timer", f"[Timer]\n{settings}\n[Service]\nExecStart=/bin/true\n")
    job = one(imported(timer)[0])
    assert {key: job[key] for key in keys} == keys
    assert len({"cron", "every"} & job.keys()) == 1


def test_a_condition_of_a_unit_ends_the_run_quietly(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    conditions = f"ConditionPathExists=!/no/such\nConditionPathIsDirectory={tmp_path}/flag\n"
    text = f"[Unit]\n{conditions}[Timer]\nOnCalendar=daily\n[Service]\nExecStart=/bin/echo ran\n"
    job = one(imported(write("c.timer", text))[0])
    assert subprocess.run(["/bin/sh", "-c", job["command"]], capture_output=True).stdout == b""
    (tmp_path / "flag").mkdir()
    assert subprocess.run(["/bin/sh", "-c", job["command"]], capture_output=True).stdout == b"ran\n"


def test_drop_ins_and_templates_are_read(write: Callable[[str, str], Path]) -> None:
    timer = write("dump@main.timer", "[Timer]\nOnCalendar=daily\n")
    write("dump@main.timer.d/time.conf", "[Timer]\nOnCalendar=\nOnCalendar=5:00\n")
    write("dump@.service", "[Service]\nExecStart=/bin/echo %i %j\n")
    job = one(imported(timer)[0])
    assert (job["cron"], job["command"]) == ("0 5 * * *", "/bin/echo main dump")


def test_an_assertion_that_does_not_hold_fails_the_run(write: Callable[[str, str], Path]) -> None:
    text = (
        "[Unit]\nAssertPathExists=/no/such\n[Timer]\nOnCalendar=daily\n[Service]\nExecStart=/bin/echo ran\n"
    )
    job = one(imported(write("c.timer", text))[0])
    found = subprocess.run(["/bin/sh", "-c", job["command"]], capture_output=True)
    assert (found.returncode, found.stdout) == (1, b"")


def test_the_jobs_of_a_timer_are_named_by_their_times(write: Callable[[str, str], Path]) -> None:
    times = "OnCalendar=*:28:10\nOnCalendar=*:58:10\nOnCalendar=6:30\nOnBootSec=5min\n"
    timer = write("look.timer", f"[Timer]\n{times}[Service]\nExecStart=/bin/true\n")
    assert list(imported(timer)[0]["jobs"]) == ["look-min-28", "look-min-58", "look-0630", "look-reboot"]


def test_a_template_of_timers_is_refused_and_passed_over_in_a_directory(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    template = write("all/dump@.timer", "[Timer]\nOnCalendar=daily\n")
    write("all/sweep.timer", TIMER)
    write("all/sweep.service", SERVICE)
    code, _, err = run("import", str(template))
    assert (code, err) == (
        2, f"{template}: a template of timers: give it a name, as in dump@INSTANCE.timer\n"
    )  # fmt: skip
    tables, err = imported(tmp_path / "all")
    assert list(tables["jobs"]) == ["sweep"]
    assert f"{template}: warning: a template of timers" in err


def test_a_service_may_be_given_beside_its_timer_and_not_alone(write: Callable[[str, str], Path]) -> None:
    timer, service = write("a/sweep.timer", TIMER), write("b/sweep.service", SERVICE)
    assert list(imported(timer, service)[0]["jobs"]) == ["sweep"]
    code, _, err = run("import", str(service))
    assert (code, err) == (2, f"{service}: a service says no times: give its timer sweep.timer too\n")
    code, _, err = run("import", str(timer))
    assert code == 2
    assert f"{timer}: its service sweep.service is not beside it: give both files, in one directory" in err


def test_what_no_cron_expression_says_is_refused_and_not_guessed(write: Callable[[str, str], Path]) -> None:
    timer = write("t.timer", "[Timer]\nOnCalendar=Mon *-*-10\n[Service]\nExecStart=/bin/true\n")
    code, out, err = run("import", str(timer))
    assert (code, out) == (2, "")
    assert (
        f'{timer}:2:1: OnCalendar="Mon *-*-10": days of the week that are certain days of the month too'
        in err
    )


CALENDARS = """\
minutely|hourly|daily|weekly|monthly|yearly|quarterly|semiannually|Mon|Mon..Fri 9:00|Sat,Sun 12:00|*:0/5
Sun *-*-01..07 3:00|*-*-01/2|*-*~01|*-02~03|Mon *-05~07/1|*-*~07/1 1:00|2027-02-04|2027-03..05-06 1:00|10-15
*-*-* 00..06:00|*-*-* 0/6:10:20|*:*:0/10|*:0/7|Tue 2027-02-*|*-*-* 2:00 Europe/Rome|Fri *-*-8..14 10:00
Mon *-*-1..14 1:00|Mon..Thu,Sat,Sun *-*-* 0:00|12,14,13,12:20,10,30|*-2/3-1|*-*-29..31|02:30:15 UTC"""


@pytest.mark.skipif(which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("text", re.split(r"[|\n]", CALENDARS))
def test_calendar_events_mean_what_systemd_says_that_they_mean(tmp_path: Path, text: str) -> None:
    base = START.replace("T", " ") + " UTC"
    command = ["systemd-analyze", "calendar", f"--base-time={base}", "--iterations=8", text]
    found = subprocess.run(command, capture_output=True, text=True, env={"TZ": "UTC", "LC_ALL": "C"})
    if found.returncode:
        pytest.skip(f"this systemd does not take it: {found.stderr}")
    theirs = re.findall(r"(?:elapse|Iter[a-z.]* #\d+): \w+ ([\d-]+ [\d:]+) UTC", found.stdout)
    times = to_cron(text)
    path = tmp_path / "jobs.toml"
    zone = times.timezone or "UTC"
    path.write_text(f'[jobs.a]\ncron = "{times.cron}"\ntimezone = "{zone}"\ncommand = "x"\n')
    _, out, _ = run("next", str(path), "--timezone", "UTC", "--from", START, "-n", "8", "--json")
    slots = [datetime.fromisoformat(slot["slot"]) for slot in json.loads(out)["slots"]]
    ours = [slot.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") for slot in slots]
    assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        *("", "25:00", "Foo 1:00", "1:00 Nowhere/Zone", "*-13-1", "Mon..", "*", "1:00:60", "5:40:23.5"),
        *("Sat..Mon 1:00", "*-*-*/0", "@1700000000", "x y z", "*-*-0", "99999999-1-1", "Mon *-*~3"),
    ],
)
def test_other_calendar_events_are_refused(text: str) -> None:
    with pytest.raises(NotACalendar):
        to_cron(text)


# --- anacron ---


def test_an_anacrontab_is_converted(write: Callable[[str, str], Path]) -> None:
    path = write(
        "anacrontab",
        "SHELL=/bin/sh\nMAILTO=\nRANDOM_DELAY=45\nSTART_HOURS_RANGE=3-22\n# period  delay\n"
        "1\t5\tcron.daily\tnice run-parts /etc/cron.daily\n7 25 weekly echo a \\\n  b\n"
        "@monthly 45 monthly x\n3 10 third y\n",
    )
    tables, err = imported(path)
    assert [(name, job.get("cron", job.get("every"))) for name, job in tables["jobs"].items()] == [
        ("cron-daily", "5 3 * * *"),
        ("weekly", "25 3 * * 0"),
        ("monthly", "45 3 1 * *"),
        ("third", "3d"),
    ]
    assert tables["jobs"]["weekly"]["command"] == "echo a b"
    assert tables["defaults"]["jitter"] == "45m"
    assert (tables["defaults"]["on_missed"], tables["defaults"]["start_deadline"]) == ("once", "none")
    assert (
        f"{path}:7:1: warning: every 7 days, counted from the last run, under anacron: here on Sundays" in err
    )


def test_a_directory_of_scripts_is_read_as_run_parts_reads_it(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    for name in ("sweep", "wash.sh", "dry"):
        write(f"cron.daily/{name}", "#!/bin/sh\n").chmod(0o644 if name == "dry" else 0o755)
    tables, err = imported(tmp_path / "cron.daily")
    assert list(tables["jobs"]) == ["sweep"]
    assert one(tables)["cron"] == "25 6 * * *"
    assert one(tables)["command"] == str(tmp_path / "cron.daily/sweep")
    assert "wash.sh: run-parts takes no files of such names" in err
    assert "dry is not executable" in err


# --- ofelia ---


def test_an_ini_file_of_ofelia_is_converted(write: Callable[[str, str], Path]) -> None:
    path = write(
        "ofelia.ini",
        '[global]\nslack-webhook = x\n[job-exec "flush cache"]\nschedule = @every 90s\ncontainer = web\n'
        'command = sh -c "a && b"\nuser = www\nno-overlap\n[job-local "tidy"]\nschedule = 0 */5 * * * *\n'
        'command = tidy >/dev/null\ndir = /srv\n[job-run "pull"]\nschedule = 0 0 1 * * 1\nimage = busybox\n'
        "command = echo hi\nvolume = /a:/a\nvolume = /b:/b\n",
    )
    tables, err = imported(path)
    jobs = tables["jobs"]
    assert [(job.get("cron"), job.get("every"), job["command"], job["overlap"]) for job in jobs.values()] == [
        (None, "1m30s", "docker exec --user www web sh -c 'a && b'", "skip"),
        ("0 */5 * * * *", None, "tidy >/dev/null", "allow"),
        ("0 0 1 * * 1", None, "docker run --rm --volume /a:/a --volume /b:/b busybox echo hi", "allow"),
    ]
    assert list(jobs) == ["flush-cache", "tidy", "pull"]
    assert "[global] is left out" in err
    assert "job-exec: the command is run with docker" in err


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("schedule = 0 15 * * * *  # hourly", "cron", "0 15 * * * *"),
        ('schedule = "@daily" ; at night', "cron", "@daily"),
        ("command = sweep 'a # b; c' # all", "command", "sweep 'a # b; c'"),
        ('command = sh -c "sweep; \\"a\\" # b"', "command", 'sh -c "sweep; \\"a\\" # b"'),
        ('command = "sweep \\"a b\\"" # all', "command", 'sweep "a b"'),
        ("command = sh -c 'sweep \\\"a\\\"'", "command", "sh -c 'sweep \"a\"'"),
        ("command = sweep 'a # b", "command", "sweep 'a # b"),
    ],
)
def test_a_comment_after_a_value_of_ofelia_is_none_of_it(
    write: Callable[[str, str], Path], setting: str, key: str, value: str
) -> None:
    other = "command = sweep" if key == "cron" else "schedule = @daily"
    tables, err = imported(write("ofelia.ini", f'[job-local "a"]\n{other}\n{setting}\n'))
    assert tables["jobs"]["a"][key] == value
    assert ("what follows is a comment: # all" in err) == setting.endswith("# all")


# --- YAML ---


def test_a_file_of_yacron_is_converted(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    path = write(
        "yacrontab.yaml",
        """\
defaults: {shell: /bin/bash, environment: [{key: A, value: 1.10}]}
jobs:
  - name: sweep floor
    command: |
      sweep a
      sweep b
    schedule: {minute: "*/5", dayOfWeek: "1-5"}
    timezone: Europe/Rome
    concurrencyPolicy: Forbid
    environment: [{key: B, value: yes}]
    onFailure: {retry: {maximumRetries: 3, initialDelay: 1, backoffMultiplier: 2}}
    executionTimeout: 1.5
    killTimeout: 0.5
    captureStdout: true
    sparkle: true
  - {name: wash, command: [wash, "a b"], schedule: "@daily", enabled: false, utc: false}
""",
    )
    tables, err = imported(path)
    sweep = tables["jobs"]["sweep-floor"]
    expected = {"cron": "*/5 * * * 1-5", "timezone": "Europe/Rome", "command": "sweep a\nsweep b"}
    assert {key: sweep[key] for key in expected} == expected
    assert (sweep["env"], tables["defaults"]["env"]) == ({"B": "yes"}, {"A": "1.10"})
    assert sweep["retry"] == {"max": 3, "delay": "1s", "max_delay": "5m", "backoff": 2}
    assert (sweep["timeout"], sweep["kill_timeout"], sweep["overlap"]) == ("1.5s", "500ms", "skip")
    wash = tables["jobs"]["wash"]
    assert (wash["enabled"], wash["command"], "timezone" in wash) == (False, ["wash", "a b"], False)
    assert "warning: not known, and left out: sparkle" in err


def test_days_that_must_both_match_in_yacron_are_not_guessed(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    path = write("y.yaml", 'jobs:\n  - {name: a, command: x, schedule: "0 0 1 * 1"}\n')
    code, _, err = run("import", str(path))
    assert code == 2
    assert "day of month and day of week must both match there" in err


CRONJOB = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: sweep}
spec:
  schedule: "0 0 */2 * 1"
  timeZone: Europe/Rome
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 300
  suspend: true
  jobTemplate:
    spec:
      backoffLimit: 2
      activeDeadlineSeconds: 3600
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: sweep
              image: example/sweep:1
              command: [sweep, "$(NAME)"]
              args: ["--all", "$$x"]
              workingDir: /srv
              env:
                - {name: NAME, value: floor}
                - {name: KEY, valueFrom: {secretKeyRef: {name: k, key: k}}}
"""


def test_a_cronjob_of_kubernetes_is_converted(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    tables, err = imported(write("sweep.yaml", f"apiVersion: v1\nkind: Service\n---\n{CRONJOB}"))
    assert one(tables) == {
        # A step is no * to Kubernetes: either day suffices.
        "cron": "0 0 1-31/2 * 1",
        "timezone": "Europe/Rome",
        "command": ["sweep", "floor", "--all", "$x"],
        "cwd": "/srv",
        "env": {"NAME": "floor"},
        "enabled": False,
        "overlap": "skip",
        "on_missed": "once",
        "start_deadline": "5m",
        "timeout": "1h",
        "kill_timeout": "30s",
        "retry": {"max": 2, "delay": "10s", "backoff": 2, "max_delay": "6m"},
    }
    assert "Service is no CronJob: left out" in err
    assert 'the command runs here, not in the image "example/sweep:1"' in err
    assert "these variables have no value here: KEY" in err


def test_the_image_of_a_container_without_a_command_is_run(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    text = CRONJOB.replace('command: [sweep, "$(NAME)"]', "tty: true")
    tables, err = imported(write("sweep.yaml", text))
    options = ["--env", "NAME", "--workdir", "/srv"]
    job = one(tables)
    assert job["command"] == ["docker", "run", "--rm", *options, "example/sweep:1", "--all", "$x"]
    assert (job["env"], job.get("cwd")) == ({"NAME": "floor"}, None)
    assert "container sweep: it has no command, so its image is run with docker" in err


def test_a_container_without_a_command_and_an_image_is_refused(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    text = CRONJOB.replace('command: [sweep, "$(NAME)"]', "tty: true").replace("image: example/sweep:1", "")
    code, _, err = run("import", str(write("sweep.yaml", text)))
    assert code == 2
    assert "container sweep: it has neither a command nor an image" in err


def test_several_containers_are_tasks(write: Callable[[str, str], Path]) -> None:
    pytest.importorskip("yaml")
    text = CRONJOB.replace(
        "          containers:\n",
        "          initContainers: [{name: wet, command: [wet]}]\n          containers:\n",
    )
    job = one(imported(write("sweep.yaml", text))[0])
    assert (list(job["tasks"]), job["mode"]) == (["wet", "sweep"], "sequence")


def bomb() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


HOSTILE = {
    "aliases that explode": (f"{bomb()}\n".encode(), "with those that aliases repeat"),
    "nested deeply": (b"jobs: " + b"[" * 90_000, "nest"),
    "a key twice": (b"jobs:\n - {name: a, name: b}\n", 'the key "name" is there twice'),
    "an alias to itself": (b"jobs: &x\n - *x\n", "refers to nothing above it, or to itself"),
    "an object of Python": (b"jobs: !!python/object/apply:os.system [id]\n", "is not taken"),
    "an unknown tag": (b"jobs: !include x\n", "is not known"),
    "not UTF-8": (b"jobs:\n - \xff\n", "byte 0xff is not UTF-8"),
    "a control character": (b"jobs:\n - \x01\n", "not"),
    "huge": (b"#" * (1 << 20) + b"\njobs: []\n", "larger than 1 MiB"),
    "a template": (b"{{ if x }}\njobs: []\n{{ end }}\n", "helm template"),
    "a mapping as key": (b"jobs:\n ? {a: b}\n : c\n", "a key is a word"),
    "NUL in a command": (b'jobs:\n - {name: a, command: "a\\0b", schedule: "@daily"}\n', "NUL"),
    "no jobs": (b"jobs: []\n", "there are no jobs"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_one_clear_error(tmp_path: Path, data: bytes, message: str) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "yacrontab.yaml"
    path.write_bytes(data)
    code, out, err = run("import", str(path))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert err.startswith(f"{path}:")


def test_without_pyyaml_the_error_names_the_extra(
    write: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    code, _, err = run("import", str(write("y.yaml", "jobs:\n  - name: a\n")))
    assert code == 1
    assert "reading YAML needs PyYAML: pip install 'taskman-scheduler[yaml]'" in err


# --- all ---

EACH = {
    "sweep.timer": TIMER,
    "units": "[Timer]\nOnCalendar=daily\n[Service]\nExecStart=/bin/true\n",
    "anacrontab": "1 5 daily x\n",
    "periods": "START_HOURS_RANGE=3-22\n1 5 daily x\n",
    "ofelia.ini": '[job-local "a"]\nschedule = @daily\ncommand = x\n',
    "yacrontab.yaml": "jobs:\n  - name: a\n    command: x\n    schedule: '@daily'\n",
    "cronjob.yml": CRONJOB,
}


@pytest.mark.parametrize(("name", "text"), EACH.items())
def test_check_leads_to_import(write: Callable[[str, str], Path], name: str, text: str) -> None:
    path = write(name, text)
    code, _, err = run("check", str(path))
    assert code == 2
    assert f"convert it with `taskman import {path} > jobs.toml`" in err
    assert err.startswith(f"{path}: a")


@pytest.mark.parametrize("name", sorted(set(EACH) - {"units", "periods"}))
def test_check_of_a_directory_leads_to_import(
    write: Callable[[str, str], Path], name: str, tmp_path: Path
) -> None:
    path = write(f"all/{name}", EACH[name])
    write("all/a.yaml", "nothing: known\n")
    code, _, err = run("check", str(tmp_path / "all"))
    assert code == 0
    assert f"no job file is in it, but {name} is a" in err
    assert f"convert it with `taskman import {path} > jobs.toml`" in err


def test_run_leads_to_import(write: Callable[[str, str], Path], tmp_path: Path) -> None:
    path = write("sweep.timer", TIMER)
    command = [sys.executable, "-m", "taskman_cli", "run", "--state-dir", str(tmp_path / "state"), str(path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert f"a systemd timer, not a job file: convert it with `taskman import {path}" in found.stderr


def test_a_directory_may_have_files_of_several_kinds(
    write: Callable[[str, str], Path], tmp_path: Path
) -> None:
    write("all/sweep.timer", TIMER)
    write("all/sweep.service", SERVICE)
    write("all/anacrontab", "1 5 daily x\n")
    write("all/tab", "0 1 * * * root wash\n")
    write("all/README.md", "Nothing\n")
    assert sorted(imported(tmp_path / "all")[0]["jobs"]) == ["daily", "sweep", "wash"]


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a file of any kind in which something was cut out, repeated or put in."""
    name = draw(st.sampled_from(sorted(EACH)))
    data = EACH[name].encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        junk = draw(st.sampled_from(JUNK) | st.binary(max_size=4))
        data = data[:at] + junk + data[at + draw(st.integers(0, 9)) :]
    return name, data


JUNK = [
    b"\0",
    b"\xff",
    b"\n",
    b"[",
    b"{",
    b"&a ",
    b"*a ",
    b": ",
    b"- ",
    b"'",
    b'"',
    b"\\",
    b"%",
    b"$",
    b"~",
    b"@",
]


@given(spoilt())
def test_any_file_is_converted_or_refused_with_its_place(file: tuple[str, bytes]) -> None:
    pytest.importorskip("yaml")
    name, data = file
    found = Converter(None, None).convert([Input(Path("/no/such") / name, data)])
    told = [problem.render() for imported in found for problem in imported.problems]
    assert [words for words in told if not words.startswith(f"/no/such/{name}:")] == []
    assert told or [imported.jobs for imported in found]
    assert to_toml(found).startswith(f"# Made from /no/such/{name} ")


def test_json_has_the_jobs_and_what_differs(write: Callable[[str, str], Path]) -> None:
    path = write("ofelia.ini", '[global]\nx = y\n[job-local "a"]\nschedule = @daily\ncommand = x\n')
    code, out, _ = run("import", "--json", str(path))
    assert code == 0
    assert json.loads(out) == [
        {
            "line": 4, "job": "a", "cron": "@daily", "command": "x", "overlap": "allow", "timeout": "none",
            "on_missed": "skip",
        },
        {"line": 2, "warning": "[global] is left out: taskman sends no mail or messages yet"},
    ]  # fmt: skip
