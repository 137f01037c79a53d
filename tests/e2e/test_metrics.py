"""Metrics of the real program: printed, served to scrapers of all kinds, written to a file."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import stat
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import call
from e2e.running import Running, hurried
from network import own_host
from process_table import arguments, descendants, descriptors, is_gone, kill
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = """
[jobs.often]
every = "200ms"
command = "true"
[jobs.bad]
every = "300ms"
command = "exit 3"
[jobs.never]
cron = "@yearly"
command = "true"
"""
LISTEN = '[metrics]\nlisten = "127.0.0.1:0"\n'
#: A metrics page and its part of a job are read by this.
SAMPLE = re.compile(r"^(taskman_\w+(?:\{[^}]*\})?) (\S+)$", re.M)


def printed(running: Running, *words: str) -> str:
    result = call(["metrics", *words], check=True, text=True, cwd=running.directory, env=running.env)
    return result.stdout


def _answers(running: Running) -> bool:
    return call(["metrics"], env=running.env).returncode == 0


def values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in SAMPLE.findall(text)}


def url(running: Running) -> str:
    found: list[str] = []
    wait_until(
        lambda: bool(found.extend(re.findall(r"http://\S+/metrics", running.log)) or found),
        what=f"an address in the log: {running.log}",
    )
    return found[-1]


def get(address: str, **headers: str) -> tuple[str, str]:
    """Return the media type and the text."""
    request = urllib.request.Request(
        address, headers={key.replace("_", "-"): value for key, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        data = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return answer.headers["Content-Type"], data.decode()


def exporter_of(running: Running) -> int:
    """Return the process that serves the metrics."""
    found: list[int] = []

    def look() -> bool:
        family = descendants(running.process.pid)
        found.extend(pid for pid in family if b"taskman_cli.metrics.exporter" in arguments(pid))
        return bool(found)

    wait_until(look, what="the process that serves metrics")
    return found[-1]


# --- printed ---


def test_any_scheduler_tells_its_metrics_without_any_setting(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("jobs from")
        wait_until(
            lambda: values(printed(running)).get('taskman_job_runs_total{job="bad",state="failed"}', 0) > 0,
            what="a failed run",
        )
        found = values(printed(running))
        assert found['taskman_job_runs_total{job="never",state="succeeded"}'] == 0
        assert 'taskman_job_last_success_timestamp_seconds{job="bad"}' not in found
        assert found["taskman_jobs"] == 3
        assert found['taskman_process_resident_memory_bytes{process="supervisor"}'] > 0
        assert 'taskman_process_resident_memory_bytes{process="exporter"}' not in found
        assert printed(running, "--openmetrics").endswith("# EOF\n")
        names = [family["metric"] for family in json.loads(printed(running, "--json"))]
        assert "taskman_job_runs_total" in names
        both = call(["metrics", "--json", "--openmetrics"], env=running.env)
        assert both.returncode == 2


def test_the_last_success_survives_a_scheduler_and_a_whole_program_and_the_rows_of_its_run(
    tmp_path: Path,
) -> None:
    name = 'taskman_job_last_success_timestamp_seconds{job="once"}'
    jobs = """
[jobs.once]
every = "300ms"
keep_runs = 1
command = "test -e fail && exit 1; exit 0"
"""
    with Running(tmp_path, jobs) as running:
        wait_until(lambda: _answers(running), what="its first answer")
        wait_until(lambda: name in printed(running), what="a success")
        (tmp_path / "fail").touch()
        failed = 'taskman_job_runs_total{job="once",state="failed"}'
        wait_until(lambda: values(printed(running))[failed] > 12, what="failures")
        before = values(printed(running))[name]
        old = running.scheduler_pid()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: running.scheduler_pid() != old, what="another scheduler")
        wait_until(lambda: _answers(running), what="its answer")
        # On record is when the loop heard of it.
        wait_until(lambda: abs(values(printed(running)).get(name, 0) - before) < 2, what="the last success")
        running.send(signal.SIGTERM)
        assert running.end() == 0
    with Running(tmp_path, jobs) as running:
        wait_until(lambda: _answers(running), what="the answer of another program")
        assert abs(values(printed(running))[name] - before) < 2


# --- served ---


def test_scrapers_get_the_format_that_they_ask_for(tmp_path: Path) -> None:
    with Running(tmp_path, LISTEN + JOBS) as running:
        address = url(running)
        kind, text = get(address)
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        assert values(text)["taskman_jobs"] == 3
        assert values(text)['taskman_process_resident_memory_bytes{process="exporter"}'] > 0
        kind, text = get(address, Accept="application/openmetrics-text;version=1.0.0", Accept_Encoding="gzip")
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert text.endswith("# EOF\n")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(address.removesuffix("/metrics"))


def test_a_scheduler_that_does_not_answer_is_no_empty_page_but_an_error(tmp_path: Path) -> None:
    with Running(tmp_path, LISTEN + JOBS) as running:
        address = url(running)
        pid = running.scheduler_pid()
        get(address)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: _status(address) == 503, what="an error")
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: _status(address) == 200, what="metrics again")


def _status(address: str) -> int:
    try:
        get(address)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return 200


def test_a_port_in_use_is_told_and_tried_again_and_jobs_run_meanwhile(tmp_path: Path) -> None:
    host = own_host()
    with closing(socket.create_server((host, 0))) as taken:
        port = taken.getsockname()[1]
        environ = hurried({"taskman_cli.metrics.server._QUIET_S": 0.5})
        jobs = f'[metrics]\nlisten = "{host}:{port}"\n{JOBS}'
        with Running(tmp_path, jobs, environ=environ) as running:
            running.wait_for_log(f"metrics: cannot listen on {host}:{port}: Address already in use")
            succeeded = 'taskman_runs_total{state="succeeded"}'
            wait_until(lambda: values(printed(running))[succeeded] > 0, what="a run")
            taken.close()
            running.wait_for_log(f"metrics: listening on {host}:{port}")
            assert values(get(url(running))[1])["taskman_jobs"] == 3
            assert running.log.count("cannot listen") == 1


def test_a_reload_moves_the_address_and_can_end_it(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("jobs from")
        assert _reload(running, LISTEN + JOBS) == 0
        first = url(running)
        get(first)
        place = tmp_path / "metrics.sock"
        assert _reload(running, f'[metrics]\nlisten = "{place}"\njobs = false\n{JOBS}') == 0
        wait_until(place.exists, what="a socket")
        wait_until(lambda: _status(first) == 0, what="the old port to be closed")
        # What was collected less than a second ago is told once more.
        wait_until(lambda: "taskman_job_" not in _over(place), what="an answer without jobs")
        assert "taskman_jobs 3\n" in _over(place)
        pid = exporter_of(running)
        assert _reload(running, JOBS) == 0
        wait_until(lambda: is_gone(pid) and not place.exists(), what="the end of it")


def _reload(running: Running, jobs: str) -> int:
    (running.directory / "jobs.toml").write_text(jobs)
    return call(["reload"], env=running.env).returncode


def _over(place: Path) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(place))
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while more := sock.recv(1 << 16):
            data += more
    return data.decode()


def test_the_socket_is_for_its_owner_alone_and_one_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    place = tmp_path / "metrics.sock"
    with Running(tmp_path, f'[metrics]\nlisten = "./metrics.sock"\n{JOBS}') as running:
        running.wait_for_log("metrics: at the socket")
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        os.kill(exporter_of(running), signal.SIGKILL)
        running.wait_for_log("the process for them was killed by SIGKILL")
        wait_until(lambda: running.log.count("metrics: at the socket") == 2, what="the socket again")
        assert "taskman_jobs 3\n" in _over(place)


def test_an_address_that_others_can_reach_is_told(tmp_path: Path) -> None:
    with Running(tmp_path, f'[metrics]\nlisten = "0.0.0.0:0"\n{JOBS}') as running:
        running.wait_for_log("everybody who can reach")
        get(url(running).replace("0.0.0.0", "127.0.0.1"))


# --- scrapers that are no good ---


@contextmanager
def many_connections(address: str, count: int, *, say: bytes = b"") -> Iterator[list[socket.socket]]:
    host, port = re.findall(r"//(.*):(\d+)/", address)[0]
    socks = []
    try:
        for _ in range(count):
            sock = socket.create_connection((host, int(port)), timeout=60)
            socks.append(sock)
            with suppress(OSError):  # one too many is hung up on, maybe by now
                sock.sendall(say)
        yield socks
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    "say",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"\x16\x03\x01\xff" * 64,
        b"GET /metrics HTTP/1.1\r\n\r\n",
    ],
    ids=["silent", "half a request", "junk", "asking and not reading"],
)
def test_a_thousand_bad_scrapers_keep_no_good_one_out(tmp_path: Path, say: bytes) -> None:
    with Running(tmp_path, LISTEN + JOBS) as running:
        address = url(running)
        pid = exporter_of(running)
        with many_connections(address, 1_000, say=say):
            assert values(get(address)[1])["taskman_jobs"] == 3
            assert len(descriptors(pid)) < 64 + 40
        assert exporter_of(running) == pid


# --- a text file ---


def test_the_text_file_is_written_again_when_something_has_happened_and_removed_in_the_end(
    tmp_path: Path,
) -> None:
    place = tmp_path / "taskman.prom"
    place.symlink_to(tmp_path / "jobs.toml")
    jobs = f'[metrics]\ntextfile = "{place}"\n[jobs.later]\ncron = "@yearly"\ncommand = "true"\n'
    environ = hurried({"taskman_cli.metrics.textfile.WRITE_S": 3.0})
    with Running(tmp_path, jobs, environ=environ) as running:
        wait_until(lambda: place.is_file() and not place.is_symlink(), what="the file")
        assert (tmp_path / "jobs.toml").read_text() == jobs, "a link is replaced, not followed"
        assert stat.S_IMODE(place.stat().st_mode) == 0o644
        first = place.read_text()
        assert 'taskman_job_runs_total{job="later",state="succeeded"} 0\n' in first
        written = place.stat()
        call(["trigger", "later", "--wait"], check=True, env=running.env)
        wait_until(
            lambda: 'taskman_job_runs_total{job="later",state="succeeded"} 1\n' in place.read_text(),
            what="what has happened",
            timeout_s=60,
        )
        assert place.stat().st_mtime - written.st_mtime >= 1, "not too often"
        running.send(signal.SIGTERM)
        assert running.end() == 0
        assert not place.exists()
        assert list(tmp_path.glob("*.new")) == []


def test_a_file_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    place = tmp_path / "no" / "taskman.prom"
    with Running(tmp_path, f'[metrics]\ntextfile = "{place}"\n{JOBS}') as running:
        running.wait_for_log(f"metrics: cannot write {place}: No such file or directory")
        assert values(printed(running))["taskman_jobs"] == 3


# --- what it costs the scheduler ---


def test_who_asks_all_the_time_gets_what_was_collected_in_the_last_second(tmp_path: Path) -> None:
    with Running(tmp_path, LISTEN + JOBS) as running:
        address = url(running)
        began_s, texts = time.monotonic(), []
        wait_until(lambda: texts.append(get(address)[1]) or len(texts) >= 60, what="many answers")  # type: ignore[func-returns-value]
        took_s = time.monotonic() - began_s
        assert len(set(texts)) <= took_s + 2


def test_without_the_table_there_is_no_process(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("jobs from")
        printed(running)
        words = [word for pid in descendants(running.process.pid) for word in arguments(pid)]
        assert b"taskman_cli.scheduler" in words
        assert not any(b"taskman_cli.metrics" in word for word in words)
        kill(running.process.pid, signal.SIGTERM)


def test_the_reports_that_wait_for_each_sink_are_a_queue(tmp_path: Path) -> None:
    sinks = '[sinks.ops]\ntype = "file"\npath = "./no/reports.jsonl"\n[defaults]\nsinks = ["ops"]\n'
    with Running(tmp_path, sinks + JOBS) as running:
        running.wait_for_log("jobs from")
        name = 'taskman_queue_depth{queue="sink.ops"}'
        wait_until(lambda: values(printed(running)).get(name, 0) > 0, what="a report that waits")
        assert values(printed(running))['taskman_queue_depth_max{queue="sink.ops"}'] > 0
        assert _reload(running, JOBS) == 0
        wait_until(lambda: name not in values(printed(running)), what="the end of the sink")
