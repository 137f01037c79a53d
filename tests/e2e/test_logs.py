"""The log of the real program: its levels and forms, a reader that is stopped, and a journald of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from booted import TASKMAN as INSTALLED
from booted import UNITS, booted, text_of, why_not
from e2e.running import TASKMAN, Running, hurried, is_scheduler
from integration.journald_stand_in import JournaldStandIn
from process_table import children, kill
from wait import wait_until

from taskman_cli.core.logsettings import LogLevel, LogPart
from taskman_cli.scheduler.logs.fields import FIELDS
from taskman_cli.supervisor.journald import MESSAGE_IDS

JOBS = """
[jobs.good]
every = "1h"
run_on_start = true
max_runs = 1
command = "echo fine"
[jobs.bad]
every = "1h"
run_on_start = true
max_runs = 1
command = "printf 'a\\\\033[2Jb'; exit 3"
"""
#: Keys that each line has.
ALWAYS = ["time", "level", "part", "message"]


def run(directory: Path, *options: str, jobs: str = JOBS, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run job files until nothing is left to do."""
    (directory / "jobs.toml").write_text(jobs)
    return subprocess.run(
        [TASKMAN, "run", "jobs.toml", *(() if "--for" in options else ("--until-idle",)), *options],
        cwd=directory, env=os.environ | {"STATE_DIRECTORY": str(directory / "state")} | environ,
        check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def levels(text: str) -> set[str]:
    return {line.split()[1] for line in text.splitlines()}


# --- levels ---


def test_it_is_quiet_a_line_a_failure_and_its_own_start_and_stop(tmp_path: Path) -> None:
    lines = run(tmp_path).stderr.splitlines()
    assert [line.split(maxsplit=2)[1] for line in lines] == ["notice"] * 3 + ["error", "notice"]
    assert " error   bad: failed (exit 3) after " in lines[3]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-q"], {"error"}),
        (["-v"], {"notice", "info", "error"}),
        (["-vv"], {"notice", "info", "error", "debug"}),
        (["--log-level", "critical"], set()),
        (["--log-level", "Info"], {"notice", "info", "error"}),
    ],
)
def test_the_command_line_says_how_much(tmp_path: Path, options: list[str], expected: set[str]) -> None:
    file = '[logging]\nlevel = "warning"\nlevels = { runs = "debug" }\n'  # the command line wins over both
    assert levels(run(tmp_path, *options, jobs=file + JOBS).stderr) == expected


@pytest.mark.parametrize(
    "options", [["-q", "-v"], ["-q", "--log-level", "info"], ["-v", "--log-level", "info"]]
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: list[str]) -> None:
    done = run(tmp_path, *options)
    assert (done.returncode, "not both" in done.stderr) == (2, True)


def test_the_job_file_gives_parts_levels_of_their_own(tmp_path: Path) -> None:
    file = (
        '[logging]\nlevel = "error"\nformat = "json"\n[logging.levels]\nruns = "info"\nsupervisor = "debug"\n'
    )
    rows = list(map(json.loads, run(tmp_path, jobs=file + JOBS).stderr.splitlines()))
    found = {(row["part"], row["level"]) for row in rows}
    assert found == {("runs", "info"), ("runs", "error"), ("supervisor", "debug")}
    traced = " ".join(row["message"] for row in rows if row["part"] == "supervisor")
    assert re.search(r"to the scheduler: ended \w+\.main\.1 \(exit code 3\)", traced)


# --- JSON ---


def test_json_lines_have_the_documented_keys_and_no_others(tmp_path: Path) -> None:
    jobs = (
        JOBS
        + """
[jobs.retried]
every = "1h"
run_on_start = true
max_runs = 1
command = ["sh", "-c", "kill -9 $$"]
retry = { max = 1, delay = "10ms" }
[jobs.off]
every = "100ms"
enabled = false
command = "true"
"""
    )
    done = run(tmp_path, "--log-format", "json", "-vv", "--for", "2s", jobs=jobs)
    rows = list(map(json.loads, done.stderr.splitlines()))
    assert {tuple(list(row)[:4]) for row in rows} == {tuple(ALWAYS)}
    assert {key for row in rows for key in list(row)[4:]} <= set(FIELDS)
    assert {row["level"] for row in rows} <= {level.value for level in LogLevel}
    assert {row["part"] for row in rows} <= {part.value for part in LogPart}
    assert {row.get("event", "dropped") for row in rows} <= MESSAGE_IDS.keys()
    time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
    assert [row["time"] for row in rows if not time.fullmatch(row["time"])] == []
    (failed,) = [row for row in rows if row.get("event") == "failed" and row["job"] == "bad"]
    assert failed | {"time": 0, "run": 0, "duration_s": 0, "cpu_s": 0, "peak_rss_bytes": 0} == {
        "time": 0, "level": "error", "part": "runs", "message": failed["message"], "event": "failed",
        "job": "bad", "task": "main", "run": 0, "attempt": 1, "state": "failed", "detail": "exit 3",
        "exit_code": 3, "duration_s": 0, "cpu_s": 0, "peak_rss_bytes": 0, "output": failed["output"],
    }  # fmt: skip
    assert failed["duration_s"] > 0
    assert failed["peak_rss_bytes"] > 100_000
    assert Path(failed["output"]).read_bytes() == b"a\x1b[2Jb"
    first, second = [row for row in rows if row.get("job") == "retried" and row.get("event") == "failed"]
    assert (first["signal"], first["retry_in_s"], first["attempt"]) == (9, 0.01, 1)
    assert ("retry_in_s" in second, second["attempt"], "exit_code" in second) == (False, 2, False)
    (skipped, *_) = [row for row in rows if row.get("event") == "skipped"]
    assert (skipped["job"], skipped["state"], skipped["reason"]) == ("off", "skipped", "disabled")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.+-]+", skipped["slot"])


def test_an_error_of_a_job_file_is_a_line_too(tmp_path: Path) -> None:
    done = run(tmp_path, "--log-format", "json", jobs="[jobs.a]\nevry = '1s'\ncommand = 'x'\n")
    (row,) = map(json.loads, done.stderr.splitlines())
    assert (row["level"], row["message"].splitlines()[0]) == (
        "error",
        'jobs.toml:2:1: jobs.a.evry: unknown key (did you mean "every"?)',
    )


def test_the_documentation_has_every_key_event_and_id() -> None:
    page = (Path(__file__).parents[2] / "docs/logs.md").read_text("utf-8")
    keys = page.partition("## Keys")[2].partition("## Events")[0]
    cells = [line.split("|")[1] for line in keys.splitlines() if line.startswith("| `")]
    assert [*ALWAYS, *FIELDS] == re.findall(r"`(\w+)`", " ".join(cells))
    events = page.partition("## Events")[2]
    assert dict(re.findall(r"^\| `(\w+)` \| `(\w{32})` \|", events, re.M)) == MESSAGE_IDS
    named = re.search(r"\| `part` \| [^|]*: (.*?)\. \|", page)
    assert named is not None
    assert re.findall(r"`(\w+)`", named[1]) == [part.value for part in LogPart]


# --- on a terminal ---


@pytest.mark.parametrize(
    ("environ", "is_colourful"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_on_a_terminal_errors_have_a_colour(
    tmp_path: Path, environ: dict[str, str], is_colourful: bool
) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [TASKMAN, "run", "jobs.toml", "--until-idle", "--no-live"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state"), "TERM": "xterm"} | environ,
    )  # fmt: skip
    os.close(theirs)
    screen = bytearray()
    try:
        while data := os.read(ours, 4096):
            screen += data
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    assert (b"\x1b[31merror   bad: failed" in screen, b"\x1b" in screen) == (is_colourful, is_colourful)
    assert b"error   bad: failed" in screen


# --- a reader that is stopped ---

BUSY = """
[pool]
admission = "fixed"
[jobs.probe]
every = "50ms"
command = "echo >> beats"
"""


def test_a_reader_that_is_stopped_delays_no_start_and_hears_how_much_it_missed(tmp_path: Path) -> None:
    # Slots of jobs that are disabled cost next to nothing, and a line each.
    silent = "".join(
        f'[jobs.off{number}]\nevery = "1s"\nenabled = false\ncommand = "x"\n' for number in range(300)
    )
    (tmp_path / "jobs.toml").write_text(BUSY + silent)
    env = hurried({"taskman_cli.scheduler.logs.handler.MAX_WAITING": 1_000})
    env["STATE_DIRECTORY"] = str(tmp_path / "state")
    log, beats = tmp_path / "log", tmp_path / "beats"
    with log.open("wb") as taken:
        reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=taken)
    assert reader.stdin is not None
    fcntl.fcntl(reader.stdin, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [TASKMAN, "run", "jobs.toml", "-vv", "--log-format", "json"],
        cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=reader.stdin,
    )  # fmt: skip
    reader.stdin.close()
    try:
        wait_until(lambda: "probe: succeeded" in log.read_text(), what="the first line")
        reader.send_signal(signal.SIGSTOP)
        before = beats.stat().st_size
        # A log that is waited for would stop the starts for as long as the reader is stopped.
        wait_until(lambda: beats.stat().st_size >= before + 120, timeout_s=60, what="120 runs meanwhile")
        reader.send_signal(signal.SIGCONT)
        # No line is needed for that: the report follows those that found room.
        wait_until(lambda: dropped(log) > 0, timeout_s=60, what="the report")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        reader.wait(30)
    finally:
        for one in (process, reader):
            kill(one.pid, signal.SIGKILL)
            one.wait()


def dropped(log: Path) -> int:
    """Return how many lines the scheduler has reported as dropped, all other lines being whole."""
    rows = map(json.loads, log.read_text().splitlines(keepends=True)[:-1])
    return sum(row["count"] for row in rows if row.get("event") == "dropped" and row["part"] == "scheduler")


# --- journald ---


@pytest.fixture
def away(tmp_path: Path) -> list[str]:
    """Give the beginning of a command line in whose namespace a directory of ours is /run/systemd/journal."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1)")
    (tmp_path / "journal").mkdir()
    script = (
        "mount --make-rprivate / && mkdir -p /run/systemd/journal && "
        f'mount --bind {tmp_path}/journal /run/systemd/journal && exec "$@"'
    )
    try_it = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", "true"], check=False, capture_output=True
    )
    if try_it.returncode:
        pytest.skip(f"no mount namespace: {try_it.stderr.decode()}")
    return ["unshare", "-m", "sh", "-c", script, "sh"]


def test_journald_gets_the_lines_of_both_processes_and_standard_error_while_it_is_gone(
    tmp_path: Path, away: list[str]
) -> None:
    jobs = '[jobs.bad]\nevery = "200ms"\ncommand = "printf \'\\\\033[2J\'; exit 3"\n'
    with JournaldStandIn(tmp_path / "journal/socket") as journald:
        running = Running(tmp_path, jobs, "--log-format", "journald", prefix=away)
        with running:
            found = journald.take_until("bad: failed")
            assert found[0]["MESSAGE"] == "1 job from jobs.toml"
            assert {one["SYSLOG_IDENTIFIER"] for one in found} == {"taskman"}
            failed = found[-1]
            assert (failed["PRIORITY"], failed["TASKMAN_JOB"], failed["TASKMAN_EXIT_CODE"]) == (
                "3",
                "bad",
                "3",
            )
            assert failed["MESSAGE_ID"] == MESSAGE_IDS["failed"]
            assert re.match(r"bad: failed \(exit 3\) after ", failed["MESSAGE"])  # no time before it
            scheduler = running.scheduler_pid()
            kill(scheduler, signal.SIGKILL)
            died = journald.take_until("the scheduler died")[-1]
            assert (died["TASKMAN_PART"], died["PRIORITY"]) == ("supervisor", "3")
            journald.take_until("bad: failed")
            assert running.log == ""
            journald.sock.close()
            journald.path.unlink()
            running.wait_for_log("journald does not answer (No such file or directory)")
            running.wait_for_log("error   bad: failed (exit 3)")
            with JournaldStandIn(tmp_path / "journal/socket") as again:
                again.take_until("bad: failed")


def test_under_systemd_it_finds_the_journal_by_itself(tmp_path: Path, away: list[str]) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    with JournaldStandIn(tmp_path / "journal/socket") as journald, (tmp_path / "stream").open("wb") as stream:
        status = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        process = subprocess.Popen(
            [*away, TASKMAN, "run", "jobs.toml", "--until-idle"],
            cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")} | journal,
        )  # fmt: skip
        assert "bad: failed" in journald.take_until("bad: failed")[-1]["MESSAGE"]
        journald.take_until("stopped: ")
        assert process.wait(30) == 0
    assert (tmp_path / "stream").read_text() == ""


@pytest.mark.real
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_real_journald_has_fields_priorities_and_one_time() -> None:
    with booted() as machine:
        machine.write("/srv/jobs.toml", JOBS.replace("max_runs = 1", 'timeout = "1m"'))
        machine.write(
            f"{UNITS}/logs.service",
            "[Service]\nStateDirectory=logs\nStateDirectoryMode=0700\n"
            f"ExecStart={INSTALLED} run /srv/jobs.toml\n",
        )
        machine.run("systemctl", "start", "logs")
        machine.wait_for_log("logs.service", "bad: failed")
        supervisor = machine.main_pid("logs.service")
        kill(next(filter(is_scheduler, children(supervisor))), signal.SIGKILL)
        machine.wait_for_log("logs.service", "the scheduler died")
        machine.run("systemctl", "stop", "logs")
        entries = machine.journal("logs.service")
        (failed,) = [one for one in entries if one.get("TASKMAN_EVENT") == "failed"]
        assert (failed["PRIORITY"], failed["TASKMAN_JOB"], failed["TASKMAN_EXIT_CODE"]) == ("3", "bad", "3")
        assert failed["_TRANSPORT"] == "journal"
        ours = [one for one in entries if one.get("SYSLOG_IDENTIFIER") == "taskman"]
        assert {one["_TRANSPORT"] for one in ours} == {"journal"}
        assert [text_of(one) for one in ours if re.match(r"\d{4}-\d\d-\d\dT", text_of(one))] == []
        (died,) = [one for one in ours if "the scheduler died" in text_of(one)]
        assert (died["TASKMAN_PART"], died["PRIORITY"]) == ("supervisor", "3")
        by_id = machine.run("journalctl", "-o", "cat", f"MESSAGE_ID={MESSAGE_IDS['failed']}")
        assert by_id.startswith("bad: failed (exit 3)")


def test_a_handler_of_the_users_own_gets_what_the_supervisor_says(tmp_path: Path) -> None:
    (tmp_path / "logging.toml").write_text(
        f'[handlers.h]\nclass = "logging.FileHandler"\nfilename = "{tmp_path}/own"\n'
        '[root]\nlevel = "info"\nhandlers = ["h"]\n'
    )
    jobs = '[logging]\nconfig = "logging.toml"\n[jobs.a]\nevery = "200ms"\ncommand = "true"\n'
    with Running(tmp_path, jobs, "--log-level", "info") as running:
        own = tmp_path / "own"
        wait_until(lambda: own.exists() and "a: succeeded" in own.read_text(), what="a line")
        running.kill_scheduler()
        wait_until(lambda: "the scheduler died" in own.read_text(), what="the death in the handler's file")
        running.wait_for_log("the scheduler died")  # said at once, too
        running.send(signal.SIGTERM)
        assert running.end() == 0
        wait_until(lambda: "stopped: " in own.read_text())
    assert "a: succeeded" not in running.log


def test_a_reload_changes_the_log_or_nothing(tmp_path: Path) -> None:
    jobs = '[taskman]\nwatch = true\n[jobs.a]\nevery = "200ms"\ncommand = "true"\n'
    (tmp_path / "jobs.toml").write_text(jobs)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [TASKMAN, "run", "jobs.toml"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env=os.environ | {"STATE_DIRECTORY": str(tmp_path / "state")},
    )  # fmt: skip

    def said() -> str:
        return (tmp_path / "log").read_text()

    try:
        wait_until(lambda: "1 job from" in said())
        (tmp_path / "jobs.toml").write_text(jobs + '[logging]\nlevel = "info"\nformat = "json"\n')
        wait_until(lambda: '"message": "a: succeeded' in said(), what="a line a run, in JSON")
        assert " info " not in said()
        (tmp_path / "jobs.toml").write_text(jobs + '[logging]\nconfig = "no.toml"\n')
        wait_until(lambda: "cannot be read: no such file or directory" in said(), what="a refusal")
        count = said().count('"message": "a: succeeded')
        wait_until(lambda: said().count('"message": "a: succeeded') > count + 2, what="the log as it was")
        (tmp_path / "jobs.toml").write_text(jobs + '[logging]\nlevels = { runs = "debug" }\n')
        wait_until(lambda: " debug   a: run " in said(), what="debug lines of runs")
    finally:
        process.terminate()
        process.wait(30)
        log.close()
