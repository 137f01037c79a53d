"""The units that `taskman unit` prints, under a real systemd: from their first start to their end."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any

import pytest
from booted import TASKMAN, UNITS, Machine, booted, text_of, why_not
from e2e.running import HURRIED, hurried
from process_table import arguments, is_alive, proc
from wait import wait_until

from taskman_cli.cli.support.systemd_unit import EXPOSURE, USER_EXPOSURE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(why_not()), reason=why_not())]

FILE = "/etc/taskman/jobs.toml"
JOBS = """
    [jobs.tick]
    every = "300ms"
    run_on_start = true
    command = "env > /srv/variables; id -un >> /srv/ticks"
    [jobs.bad]
    every = "300ms"
    run_on_start = true
    command = "exit 3"
"""
#: What begins a line of a log for people.
STAMP = re.compile(r"\d{4}-\d\d-\d\dT")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Boot a machine with two users."""
    with booted() as machine:
        machine.run("mkdir", "-p", "/srv")
        for name in ("alice", "bob"):
            machine.add_user(name)
        yield machine


@pytest.fixture(autouse=True)
def _leave_nothing(machine: Machine) -> Iterator[None]:
    """Begin each test without units, state and files of the ones before."""
    yield
    machine.call("systemctl", "stop", "taskman*", timeout_s=120)
    machine.call("sh", "-c", f"rm -rf {UNITS}/taskman* /var/lib/taskman /etc/taskman /srv/*")
    machine.run("systemctl", "daemon-reload")


def install(machine: Machine, *options: str, jobs: str = JOBS, file: str = FILE, more: str = "") -> str:
    """Install the unit for a job file, with a drop-in; return its name."""
    machine.write(file, jobs)
    text = machine.run(TASKMAN, "unit", *options, file)
    unit = text.splitlines()[0].rpartition("/")[2]
    machine.write(f"{UNITS}/{unit}", text)
    machine.write(f"{UNITS}/{unit}.d/more.conf", f"[Service]\n{more}\n")  # in place of another test's
    machine.run("systemctl", "daemon-reload")
    return unit


def start(machine: Machine, *options: str, **more: Any) -> str:
    """Install the unit for a job file, and start it; return its name."""
    unit = install(machine, *options, **more)
    machine.run("systemctl", "start", unit)
    return unit


def stop(machine: Machine, unit: str) -> None:
    """Stop a unit, and check that this went well."""
    machine.run("systemctl", "stop", unit)
    assert machine.show(unit, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}


def lines(machine: Machine, name: str) -> list[str]:
    return machine.read(name).splitlines()


def status(machine: Machine, *options: str, user: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run(TASKMAN, "status", "--json", *options, user=user))
    return found


def wait_for_lines(machine: Machine, name: str, *, more: int = 2) -> None:
    """Wait until a file of the machine has grown."""
    count = len(lines(machine, name))
    wait_until(lambda: len(lines(machine, name)) >= count + more, what=f"more lines in {name}")


# --- what is printed ---


@pytest.mark.parametrize("options", [(), ("--name", "web"), ("--template",), ("--user",)], ids=" ".join)
def test_systemd_has_nothing_to_say_about_a_unit_and_finds_it_hardened(
    machine: Machine, options: tuple[str, ...]
) -> None:
    machine.write(FILE, JOBS)
    text = machine.run(TASKMAN, "unit", *options, *([] if "--template" in options else [FILE]))
    name = text.splitlines()[0].rpartition("/")[2]
    machine.write(f"/srv/units/{name}", text)
    scope = ["--user"] if "--user" in options else []
    runtime = {"XDG_RUNTIME_DIR": "/run"}
    verify = machine.call("systemd-analyze", *scope, "verify", f"/srv/units/{name}", env=runtime)
    assert (verify.returncode, verify.stdout, verify.stderr) == (0, "", "")
    words = ["security", "--offline=true", "--no-pager", f"/srv/units/{name}"]
    judged = machine.call("systemd-analyze", *scope, *words, env=runtime).stdout
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", judged)
    assert float(score) <= (USER_EXPOSURE if scope else EXPOSURE)


# --- life ---


def test_a_unit_is_started_reloaded_and_stopped(machine: Machine) -> None:
    unit = start(machine)
    assert machine.show(unit, "ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    wait_for_lines(machine, "/srv/ticks")
    assert set(lines(machine, "/srv/ticks")) == {"root"}
    names = {line.partition("=")[0] for line in lines(machine, "/srv/variables")}
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & names == set()
    wait_until(
        lambda: re.fullmatch(
            r"(idle|\d running), next \w+ at [\d:]{8}; 1 job failing \(bad\)",
            machine.show(unit, "StatusText")["StatusText"],
        ),
        what="the status",
    )
    assert machine.path("/run/taskman/taskman.sock").is_socket()
    assert status(machine)["jobs"] == 2

    machine.write(FILE, JOBS.replace("[jobs.bad]", "[jobs.worse]"))
    machine.run("systemctl", "reload", unit)
    machine.wait_for(unit, ActiveState="active", SubState="running")
    machine.wait_for_log(unit, "added worse")
    machine.write(FILE, "[jobs.tick]\n")
    assert machine.call("systemctl", "reload", unit).returncode == 1
    machine.wait_for(unit, ActiveState="active", SubState="running")
    machine.wait_for_log(unit, "jobs.tick: the schedule is missing")

    before = machine.show(unit, "MainPID")
    machine.run(TASKMAN, "restart")
    machine.wait_for_log(unit, "restarting the scheduler")
    wait_for_lines(machine, "/srv/ticks")
    after = machine.show(unit, "MainPID", "NRestarts", "ActiveState")
    assert after == {**before, "NRestarts": "0", "ActiveState": "active"}

    stop(machine, unit)
    assert not machine.path("/run/taskman").exists()
    entries = [entry for entry in machine.journal(unit) if entry.get("_SYSTEMD_UNIT") == unit]
    said = {text_of(entry): entry for entry in entries}
    assert [text for text in said if STAMP.match(text)] == []
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"taskman"}
    assert [entry for entry in entries if "PRIORITY" not in entry] == []
    failed = next(entry for text, entry in said.items() if text.startswith("bad: "))
    assert int(failed["PRIORITY"]) <= 4
    assert [text for text in said if text.startswith("stopped: ")]


def test_a_supervisor_that_is_killed_is_started_again_and_leaves_nothing(machine: Machine) -> None:
    sleeper = '\n[jobs.sleeper]\nevery = "1d"\nrun_on_start = true\ncommand = ["sleep", "4711"]\n'
    unit = start(machine, jobs=JOBS + sleeper)
    wait_for_lines(machine, "/srv/ticks")
    first = [pid for pid in machine.pids() if in_unit(pid, unit)]
    assert len(first) >= 3
    os.kill(machine.main_pid(unit), signal.SIGKILL)
    machine.wait_for(unit, NRestarts="1", ActiveState="active")
    assert [pid for pid in first if is_alive(pid)] == []
    wait_for_lines(machine, "/srv/ticks")
    assert '"state": "lost"' in machine.run(TASKMAN, "history", "sleeper", "--json")
    stop(machine, unit)


def in_unit(pid: int, unit: str) -> bool:
    return f"/{unit}" in proc(pid, "cgroup").decode()


def test_a_unit_is_a_cpu_group_so_that_no_command_begins_in_a_new_one(machine: Machine) -> None:
    unit = start(machine)
    found = proc(machine.main_pid(unit), "cgroup").decode().splitlines()
    groups = dict(line.split(":", 2)[1:] for line in found)
    (place,) = [path for names, path in groups.items() if "cpu" in names.split(",")] or [groups[""]]
    assert place.endswith(f"/{unit}")
    stop(machine, unit)


def test_a_bad_job_file_makes_the_start_fail_and_it_comes_up_when_that_is_fixed(machine: Machine) -> None:
    unit = install(machine)
    machine.write(FILE, "[jobs.tick]\n")
    done = machine.call("systemctl", "start", unit)
    assert done.returncode == 1
    machine.wait_for_log(unit, "jobs.tick: the schedule is missing")
    machine.write(FILE, JOBS)
    machine.wait_for(unit, ActiveState="active")
    stop(machine, unit)


SLOW = """
    [jobs.slow]
    at = 2020-01-01T00:00:00Z
    run_on_start = true
    kill_timeout = "1m"
    command = "trap '' TERM; echo begun >> /srv/{name}; sleep {seconds}; echo over >> /srv/{name}"
"""


#: It asks for four seconds each second, in place of twenty each five.
_SHORT_EXTENSIONS = hurried(
    {
        "taskman_cli.supervisor.notify.EXTEND_EVERY_NS": 10**9,
        "taskman_cli.supervisor.notify.EXTEND_NS": 4 * 10**9,
    },
    {},
    site="/srv/site",
)


# The longer one needs more than one extension.
@pytest.mark.parametrize(("how", "seconds"), [("systemctl", 8), ("drain", 5)])
def test_a_stop_may_take_longer_than_the_time_out_as_long_as_it_gets_on(
    machine: Machine, how: str, seconds: int
) -> None:
    name = f"slow-{how}"
    before = len(machine.log("taskman.service"))  # other tests have killed it
    machine.write("/srv/site/sitecustomize.py", (HURRIED / "sitecustomize.py").read_text())
    environment = " ".join(f'"{name}={value}"' for name, value in _SHORT_EXTENSIONS.items())
    more = f"TimeoutStopSec=3s\nEnvironment={environment}"
    unit = start(machine, jobs=SLOW.format(name=name, seconds=seconds), more=more)
    wait_until(lambda: lines(machine, f"/srv/{name}") == ["begun"], what="the command")
    machine.run(*(["systemctl", "stop", unit] if how == "systemctl" else [TASKMAN, "stop", "--drain"]))
    machine.wait_for(unit, ActiveState="inactive", Result="success")
    assert lines(machine, f"/srv/{name}") == ["begun", "over"]
    log = machine.log(unit)[before:]
    assert [line for line in log if "stopped: " in line] != []
    assert [line for line in log if "State 'stop" in line or "SIGKILL" in line] == []


# --- beside each other ---


def test_instances_by_name_and_of_the_template_run_beside_each_other(machine: Machine) -> None:
    job = '[jobs.j]\nevery = "300ms"\nrun_on_start = true\ncommand = "echo >> /srv/{}"\n'
    units = [
        start(machine, jobs=job.format("main")),
        start(machine, "--name", "web", jobs=job.format("web"), file="/etc/taskman/web.toml"),
        "taskman@db.service",
    ]
    assert units[:2] == ["taskman.service", "taskman-web.service"]
    machine.write("/etc/taskman/db.toml", job.format("db"))
    machine.write(f"{UNITS}/taskman@.service", machine.run(TASKMAN, "unit", "--template"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "taskman@db")
    for name, socket in (("main", "taskman/taskman"), ("web", "taskman-web/web"), ("db", "taskman-db/db")):
        wait_for_lines(machine, f"/srv/{name}")
        assert machine.path(f"/run/{socket}.sock").is_socket()
    for name in ("web", "db"):
        assert status(machine, "-i", name)["files"] == [f"/etc/taskman/{name}.toml"]
    # Of one that is stopped the others lose nothing.
    machine.run("systemctl", "reload", *units)
    stop(machine, units[0])
    for name in ("web", "db"):
        wait_for_lines(machine, f"/srv/{name}")
        machine.run(TASKMAN, "status", "-i", name)
    for unit in units[1:]:
        stop(machine, unit)


# --- what jobs can do, and what they cannot ---


def test_jobs_of_other_users_run_and_what_they_leave_is_found(machine: Machine) -> None:
    machine.run("install", "-d", "-o", "alice", "/srv/alice")
    unit = start(
        machine,
        jobs="""
    [defaults]
    run_on_start = true
    user = "alice"
    [jobs.who]
    at = 2020-01-01T00:00:00Z
    nice = -5
    command = "id -un > /srv/alice/who; nice >> /srv/alice/who; env > /srv/alice/env"
    [jobs.leaves]
    at = 2020-01-01T00:00:00Z
    timeout = "1s"
    kill_timeout = "1s"
    command = "setsid sleep 4712 & echo $! > /srv/alice/pid; exec sleep 4713"
    """,
    )
    wait_until(lambda: lines(machine, "/srv/alice/who") == ["alice", "-5"], what="the job of alice")
    assert [line for line in lines(machine, "/srv/alice/env") if "NOTIFY" in line] == []
    wait_until(lambda: lines(machine, "/srv/alice/pid"), what="what a job leaves")
    left = machine.outside(int(lines(machine, "/srv/alice/pid")[0]))
    wait_until(lambda: not is_alive(left), what="the end of what a job left")
    stop(machine, unit)


def test_sinks_are_told_and_end_with_the_unit(machine: Machine) -> None:
    sinks = '[sinks.out]\ntype = "file"\npath = "/srv/told"\non = ["all"]\n[defaults]\nsinks = ["out"]\n'
    before = len(machine.log("taskman.service"))  # other tests have killed it
    unit = start(machine, jobs=sinks + JOBS)
    wait_until(lambda: '"failed"' in machine.read("/srv/told"), what="a report of a failure")
    stop(machine, unit)
    log = machine.log(unit)[before:]
    assert [line for line in log if "stopped: " in line] != []
    assert [line for line in log if "SIGKILL" in line] == []
    kinds = [json.loads(line)["event"] for line in lines(machine, "/srv/told")]
    assert kinds[0] == "scheduler_started"
    assert kinds[-1] == "scheduler_stopped"


#: What the comments in a unit say that jobs cannot do: a command that fails. Without the unit, each succeeds.
DENIED = {
    "CapabilityBoundingSet=": "capsh --has-p=cap_sys_admin",
    "ProtectSystem=full": "touch /etc/denied",
    "PrivateDevices=yes": "test -e /dev/outside",
    "ProtectKernelTunables=yes": "test -w /proc/sys/kernel/hostname",
    "ProtectControlGroups=yes": "mkdir /sys/fs/cgroup/pids/denied",
    "RestrictSUIDSGID=yes": "touch /srv/bits && chmod u+s /srv/bits",
    "RestrictNamespaces=yes": "unshare --uts true",
    "RestrictRealtime=yes": "chrt --fifo 1 true",
    "LockPersonality=yes": "setarch linux32 true",
    "SystemCallFilter=": "chroot / true",
    "NoNewPrivileges=yes": "! grep -q 'NoNewPrivs:.*1' /proc/self/status",
    "RestrictAddressFamilies=": "python3 -c 'import socket; socket.socket(17, 3)'",
}


def test_jobs_cannot_do_what_the_comments_in_the_unit_say(machine: Machine) -> None:
    machine.run("touch", "/dev/outside")
    if machine.call("sh", "-c", "command -v capsh").returncode:
        pytest.skip("not installed: capsh")
    jobs = "\n".join(
        f'[jobs.d{number}]\nat = 2020-01-01T00:00:00Z\nrun_on_start = true\ncommand = """\n'
        f'({command}) 2>> /srv/denied.log; echo {number} $? >> /srv/denied"""'
        for number, command in enumerate(DENIED.values())
    )
    plain = machine.call(
        "sh", "-c", "; ".join(f"({one}) || echo failed {shlex.quote(one)}" for one in DENIED.values())
    )
    assert plain.stdout == ""
    machine.run("sh", "-c", "rm -f /etc/denied /srv/bits; rmdir /sys/fs/cgroup/pids/denied || true")
    unit = start(machine, jobs=jobs)
    wait_until(lambda: len(lines(machine, "/srv/denied")) == len(DENIED), what="all jobs")
    codes = dict(line.split() for line in lines(machine, "/srv/denied"))
    assert [what for number, what in enumerate(DENIED) if codes[str(number)] == "0"] == []
    text = machine.read(f"{UNITS}/{unit}")
    assert [what for what in DENIED if f"\n{what}" not in text] == []
    stop(machine, unit)


# --- users, names, directories ---


def test_a_unit_of_a_user_runs_under_the_systemd_of_that_user(machine: Machine) -> None:
    machine.write(
        "/home/bob/jobs.toml", '[jobs.j]\nevery = "300ms"\nrun_on_start = true\ncommand = "id -un >> ticks"\n'
    )
    machine.run("chown", "-R", "bob", "/home/bob")
    text = machine.run(TASKMAN, "unit", "--user", "/home/bob/jobs.toml", user="bob")
    machine.write("/home/bob/.config/systemd/user/taskman.service", text)
    machine.run("chown", "-R", "bob", "/home/bob")
    machine.run("loginctl", "enable-linger", "bob")
    wait_until(
        lambda: machine.call("systemctl", "--user", "enable", "--now", "taskman", user="bob").returncode == 0,
        what="the systemd of bob",
    )
    wait_for_lines(machine, "/home/bob/ticks")
    assert set(lines(machine, "/home/bob/ticks")) == {"bob"}
    assert machine.path("/home/bob/.local/state/taskman/ledger.db").exists()
    assert status(machine, user="bob")["jobs"] == 1
    machine.run("systemctl", "--user", "reload", "taskman", user="bob")
    machine.wait_for("taskman", user="bob", ActiveState="active", NRestarts="0")
    assert (
        "ok    systemd    taskman.service starts taskman"
        in machine.call(TASKMAN, "doctor", user="bob").stdout
    )
    machine.run("systemctl", "--user", "stop", "taskman", user="bob")
    machine.wait_for("taskman", user="bob", ActiveState="inactive", Result="success")


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "100% %n",
        "a'b\"c",
        "$HOME ${X}",
        "back\\slash",
        "grün-Ω",
        "new\nline",
        "-dash",
        ";",
    ],
)
def test_any_name_of_a_file_reaches_the_program_as_it_is(machine: Machine, name: str) -> None:
    file = f"/etc/taskman/{name}.toml"
    unit = start(machine, "--name", "odd", file=file, jobs="[jobs.j]\nevery = '1h'\ncommand = 'true'\n")
    pid = machine.main_pid(unit)
    (options,) = [json.loads(word) for word in arguments(pid) if word.startswith(b"{")]
    assert options["files"] == [file]
    stop(machine, unit)


def test_the_lines_for_tmpfiles_make_the_directories(machine: Machine) -> None:
    machine.write("/etc/tmpfiles.d/taskman.conf", machine.run(TASKMAN, "unit", "--tmpfiles"))
    machine.run("rm", "-rf", "/var/lib/taskman", "/etc/taskman")
    done = machine.call("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/taskman.conf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.run("stat", "-c", "%a %U %n", "/var/lib/taskman", "/etc/taskman").splitlines() == [
        "700 root /var/lib/taskman",
        "755 root /etc/taskman",
    ]
