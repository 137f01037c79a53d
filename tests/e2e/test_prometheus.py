"""Prometheus itself: it scrapes the real program, finds nothing to complain of, and fires the five alerts.

It is Debian's, installed or unpacked in the directory that TASKMAN_PROMETHEUS names:

    mkdir DIR && cd DIR && apt-get download prometheus && dpkg -x prometheus_*.deb .
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e.running import TASKMAN, Running
from e2e.test_metrics import LISTEN, printed, url
from integration.documents import blocks
from network import own_host
from wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(os.environ.get("TASKMAN_PROMETHEUS") or "/") / "usr/bin"
PROMETHEUS, PROMTOOL = _ROOT / "prometheus", _ROOT / "promtool"
RULES = Path(__file__).parents[2] / "examples" / "prometheus-rules.yml"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PROMTOOL.exists(), reason="not installed: prometheus, of Debian's package"),
]

JOBS = """
[pool]
max_workers = 1
admission = "fixed"
[jobs.good]
every = "500ms"
command = "true"
[jobs.bad]
cron = "@yearly"
command = "exit 1"
max_failures = 3
"""


def promtool(*words: str, stdin: str = "") -> str:
    result = subprocess.run([PROMTOOL, *words], check=False, capture_output=True, text=True, input=stdin)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@contextmanager
def prometheus(directory: Path, target: str, *, rules: Path) -> Iterator[str]:
    """Run Prometheus with the configuration of docs/metrics.md, but fast; return its address."""
    (text,) = [block.text for block in blocks("yaml") if "scrape_configs" in block.text]
    text = text.replace("127.0.0.1:9464", target)
    config = directory / "prometheus.yml"
    times = "global: { scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }\n"
    config.write_text(f"{times}rule_files: [{rules}]\n{text}")
    promtool("check", "config", str(config))
    host = own_host()
    with socket.create_server((host, 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={host}:{port}", "--log.level=warn",
        ],
        cwd=directory,
    )  # fmt: skip
    try:
        yield f"http://{host}:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def ask(address: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{path}", timeout=10) as answer:
            return json.loads(answer.read())["data"]
    except OSError:
        return None


def value(address: str, query: str) -> float | None:
    found = ask(address, f"query?query={urllib.request.quote(query)}")
    return float(found["result"][0]["value"][1]) if found and found["result"] else None


def firing(address: str) -> set[str]:
    found = ask(address, "alerts") or {"alerts": []}
    return {alert["labels"]["alertname"] for alert in found["alerts"] if alert["state"] == "firing"}


def test_promtool_has_nothing_to_say_about_the_metrics(tmp_path: Path) -> None:
    with Running(tmp_path, JOBS) as running:
        running.wait_for_log("jobs from")
        assert promtool("check", "metrics", stdin=printed(running)) == ""


def test_prometheus_scrapes_it_and_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    # As they are, but without the minutes for which something must last.
    rules = tmp_path / "rules.yml"
    lines = RULES.read_text().replace("> 120", "> 2").replace("[10m]", "[2s]").splitlines(keepends=True)
    rules.write_text("".join(line for line in lines if not line.strip().startswith("for:")))
    promtool("check", "rules", str(rules))
    home = tmp_path / "prometheus"
    home.mkdir()
    with Running(tmp_path, LISTEN + JOBS) as running:
        target = url(running).split("/")[2]
        with prometheus(home, target, rules=rules) as address:
            wait_until(lambda: value(address, "up") == 1, what="a scrape")
            name = 'taskman_job_runs_total{job="good",state="succeeded"}'
            wait_until(lambda: (value(address, name) or 0) >= 2, what="runs")
            targets = ask(address, "targets")["activeTargets"]
            assert [target["lastError"] for target in targets] == [""]
            assert firing(address) == set()
            for _ in range(3):
                subprocess.run([TASKMAN, "trigger", "bad", "--wait"], check=False, env=running.env)
            wait_until(lambda: "TaskmanJobFailing" in firing(address), what="the alert of a failing job")
            wait_until(lambda: "TaskmanJobParked" in firing(address), what="the alert of a parked job")
            assert firing(address) == {"TaskmanJobFailing", "TaskmanJobParked"}
            wait_until(lambda: value(address, "taskman_job_parked == 1") == 1, what="the parked job")
            os.kill(running.scheduler_pid(), signal.SIGSTOP)
            wait_until(lambda: "TaskmanNotProgressing" in firing(address), what="the alert of its end")
            os.kill(running.scheduler_pid(), signal.SIGCONT)


#: What each alert is told of, minute by minute, and when it must fire or not.
SERIES = """
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'taskman_job_runs_total{job="bad",state="failed",instance="i"}', values: '0 1 2 3+1x60' }
      - { series: 'taskman_job_runs_total{job="bad",state="succeeded",instance="i"}', values: '0x63' }
      - { series: 'taskman_job_runs_total{job="good",state="failed",instance="i"}', values: '0x63' }
      - { series: 'taskman_job_runs_total{job="good",state="succeeded",instance="i"}', values: '0+1x63' }
      - { series: 'taskman_job_runs_total{job="mixed",state="failed",instance="i"}', values: '0+1x63' }
      - { series: 'taskman_job_runs_total{job="mixed",state="succeeded",instance="i"}', values: '0+1x63' }
    alert_rule_test:
      - eval_time: 0m
        alertname: TaskmanJobFailing
        exp_alerts: []
      - eval_time: 30m
        alertname: TaskmanJobFailing
        exp_alerts:
          - exp_labels: { severity: warning, job: bad, state: failed, instance: i }
            exp_annotations:
              summary: "The job bad fails."
              description: "On i: see `taskman why bad`."
  - interval: 4m
    input_series:
      - { series: 'taskman_job_last_success_timestamp_seconds{job="daily",instance="i"}', values: '0x500' }
      - { series: 'taskman_job_last_success_timestamp_seconds{job="weekly-x",instance="i"}', values: '0x500' }
    alert_rule_test:
      - { eval_time: 26h, alertname: TaskmanNoSuccess, exp_alerts: [] }
      - eval_time: 28h
        alertname: TaskmanNoSuccess
        exp_alerts:
          - exp_labels: { severity: warning, job: daily, instance: i }
            exp_annotations:
              summary: "The job daily has had no success for 1d 4h 0m 0s."
              description: "On i: see `taskman why daily`."
  - interval: 1m
    input_series:
      - { series: 'taskman_job_parked{job="a",instance="i"}', values: '0 0 1 1 1 0' }
    alert_rule_test:
      - { eval_time: 1m, alertname: TaskmanJobParked, exp_alerts: [] }
      - eval_time: 3m
        alertname: TaskmanJobParked
        exp_alerts:
          - exp_labels: { severity: critical, job: a, instance: i }
            exp_annotations:
              summary: "The job a is parked: it failed too often, and has no new runs."
              description: "On i: when it is fixed, `taskman resume a`."
      - { eval_time: 5m, alertname: TaskmanJobParked, exp_alerts: [] }
  - interval: 1m
    input_series:
      - series: 'taskman_job_next_slot_timestamp_seconds{job="a",instance="i"}'
        values: '60 120 180 240 240x20'
      - series: 'taskman_job_next_slot_timestamp_seconds{job="b",instance="i"}'
        values: '9999x25'
    alert_rule_test:
      - { eval_time: 5m, alertname: TaskmanNotProgressing, exp_alerts: [] }
      - eval_time: 10m
        alertname: TaskmanNotProgressing
        exp_alerts:
          - exp_labels: { severity: critical, instance: i }
            exp_annotations:
              summary: "taskman is down on i, or starts nothing."
              description: "See `taskman status` and `taskman doctor` there."
  - interval: 1m
    input_series:
      - { series: 'up{job="taskman",instance="i"}', values: '1 1 0 0 0 0 0' }
    alert_rule_test:
      - { eval_time: 3m, alertname: TaskmanNotProgressing, exp_alerts: [] }
      - eval_time: 5m
        alertname: TaskmanNotProgressing
        exp_alerts:
          - exp_labels: { severity: critical, job: taskman, instance: i }
            exp_annotations:
              summary: "taskman is down on i, or starts nothing."
              description: "See `taskman status` and `taskman doctor` there."
  - interval: 1m
    input_series:
      - { series: 'taskman_queue_depth{queue="ready",instance="i"}', values: '0 5 5 5 5 5 0 5x30' }
    alert_rule_test:
      - { eval_time: 15m, alertname: TaskmanLate, exp_alerts: [] }
      - eval_time: 25m
        alertname: TaskmanLate
        exp_alerts:
          - exp_labels: { severity: warning, queue: ready, instance: i }
            exp_annotations:
              summary: "Commands wait, or start late, on i."
              description: "`taskman status` says what they wait for."
  - interval: 1m
    input_series:
      - { series: 'taskman_loop_lag_seconds_bucket{le="1.0",instance="i"}', values: '0x30' }
      - { series: 'taskman_loop_lag_seconds_bucket{le="5.0",instance="i"}', values: '0+5x30' }
      - { series: 'taskman_loop_lag_seconds_bucket{le="+Inf",instance="i"}', values: '0+5x30' }
    alert_rule_test:
      - eval_time: 20m
        alertname: TaskmanLate
        exp_alerts:
          - exp_labels: { severity: warning, instance: i }
            exp_annotations:
              summary: "Commands wait, or start late, on i."
              description: "`taskman status` says what they wait for."
"""


def test_the_rules_are_clean_and_each_alert_fires_when_it_should(tmp_path: Path) -> None:
    assert "5 rules found" in promtool("check", "rules", str(RULES))
    test = tmp_path / "test.yml"
    test.write_text(SERIES.replace("RULES", str(RULES)))
    promtool("test", "rules", str(test))
