"""`taskman sinks` and its actions, with a real scheduler, real sinks and real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import command_line
from e2e.receivers import receivers
from e2e.running import Running
from e2e.test_sinks import courier, job, rows, sink
from wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def call(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    return command_line.call([*words], env=running.env, cwd=running.directory, text=True)


def told(running: Running) -> dict[str, dict[str, Any]]:
    found = json.loads(call(running, "sinks", "--json").stdout)
    return {item["sink"]: item for item in found["sinks"]}


def test_what_a_sink_refuses_is_set_aside_shown_skipped_and_replayed(tmp_path: Path) -> None:
    with receivers("refuse", "ok") as (bad, good):
        on = 'on = ["succeeded"]'
        jobs = sink("bad", bad.url, on, "attempts = 2") + sink("good", good.url, on)
        jobs += job("j", "true", "sinks = ['bad', 'good']", "max_runs = 3")
        with Running(tmp_path, jobs, "--no-live") as running:
            wait_until(lambda: len(rows(running, "SELECT 1 FROM refused")) == 3, what="three refused")
            wait_until(lambda: len(good.seqs) == 3, what="three delivered")
            now = told(running)
            assert (now["bad"]["set_aside"], now["bad"]["waiting"]) == (3, 0)
            assert now["bad"]["failing"] is not None
            assert "500" in now["bad"]["error"]
            assert [row["kind"] for row in now["bad"]["refused"]] == ["succeeded"] * 3
            wait_until(lambda: told(running)["good"]["delivered"] == 3, what="three on record")
            assert len(bad.arrivals) == 6  # each twice
            shown = call(running, "sinks").stdout
            first = good.seqs[0]
            assert f"bad: set aside: {first} succeeded j: " in shown
            skipped = call(running, "sinks", "skip", "bad", str(first))
            assert (skipped.returncode, skipped.stdout) == (0, f"bad: report {first} is not delivered\n")
            assert told(running)["bad"]["set_aside"] == 2
            assert call(running, "sinks", "skip", "bad", str(first)).returncode == 4
            bad.heal()
            before = len(bad.arrivals)
            replayed = call(running, "sinks", "replay", "bad", "--since", "1")
            assert (replayed.returncode, replayed.stdout) == (0, "bad: 2 reports will be delivered again\n")
            wait_until(lambda: len(bad.arrivals) == before + 2, what="two more")
            assert [arrival.seqs[0] for arrival in bad.arrivals[before:]] == good.seqs[1:]
            assert bad.arrivals[-1].key == good.arrivals[-1].key
            wait_until(lambda: told(running)["bad"]["failing"] is None, what="a sink that works")
            for later in ("2099-01-01", "2999-01-01", "9" * 20, "9" * 5_000):
                refused = call(running, "sinks", "replay", "good", "--since", later)
                words = "taskman: good was told nothing since then that is still on record\n"
                assert (refused.returncode, refused.stderr) == (4, words)
            kinds = [kind for (kind,) in rows(running, "SELECT kind FROM events")]
            assert {"sink_replayed", "report_skipped"} <= set(kinds)
            running.send(signal.SIGTERM)
            assert running.end() == 0
            assert told(running)["good"] | {"answer": ""} == {
                "sink": "good", "type": None, "waiting": 0, "oldest": None, "cursor": good.seqs[-1],
                "delivered": 3, "last": told(running)["good"]["last"], "answer": "", "failing": None,
                "error": "", "set_aside": 0, "refused": [],
            }  # fmt: skip


def test_a_test_says_what_the_other_side_answers(tmp_path: Path) -> None:
    with receivers("ok", "refuse") as (good, bad):
        jobs = sink("good", good.url) + sink("bad", bad.url)
        jobs += job("j", "true", "sinks = ['good']", every="1h")
        with Running(tmp_path, jobs, "--no-live") as running:
            running.wait_for_log("next, in another terminal")
            taken = call(running, "sinks", "test", "good", "--event", "recovered")
            assert (taken.returncode, taken.stdout.split(":")[:2]) == (0, ["good", " delivered"])
            assert (good.events, good.arrivals[0].jobs) == ([("recovered",)], ("j",))
            refused = call(running, "sinks", "test", "bad")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "sink bad: HTTP 500" in refused.stderr
            gone = call(running, "sinks", "test", "goood")
            assert gone.returncode == 4
            assert 'there is no sink "goood" (did you mean "good"?)' in gone.stderr
            assert rows(running, "SELECT delivered FROM sinks WHERE name = 'good'") == [(0,)]


def test_a_test_of_a_sink_whose_process_is_stopped_says_so_in_seconds(tmp_path: Path) -> None:
    with receivers("ok") as (ok,):
        jobs = sink("ops", ok.url) + job("j", "true", "sinks = ['ops']", every="1h")
        with Running(tmp_path, jobs, "--no-live") as running:
            running.wait_for_log("next, in another terminal")
            assert call(running, "sinks", "test", "ops").returncode == 0
            process = courier(running)
            os.kill(process, signal.SIGSTOP)
            began_s = time.monotonic()
            told = call(running, "sinks", "test", "ops")
            assert time.monotonic() - began_s < 30
            os.kill(process, signal.SIGCONT)
            assert (told.returncode, told.stdout) == (1, "")
            assert "ops: no answer yet: waiting for as long as the timeout of the sink" in told.stderr
            assert "sink ops: the process of the sinks does not answer" in told.stderr
            assert call(running, "sinks", "test", "ops").returncode == 0
    nobody = call(running, "sinks", "test", "ops")
    assert (nobody.returncode, nobody.stdout) == (3, "")
    assert "taskman run" in nobody.stderr


def test_words_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    running = Running(tmp_path, "", "--no-live")
    with running:
        for words in (
            ["test"], ["skip", "ops"], ["replay", "ops"], ["replay", "ops", "5"], ["--event", "failed"],
            ["test", "ops", "--since", "1h"], ["tset", "ops"], ["test", "ops", "--event", "faild"],
        ):  # fmt: skip
            refused = call(running, "sinks", *words)
            assert (refused.returncode, refused.stdout) == (2, ""), words
        running.wait_for_log("next, in another terminal")
        assert "the job files define none" in call(running, "sinks").stderr


def test_a_one_off_job_is_told_to_the_sinks_it_names(tmp_path: Path) -> None:
    with receivers("ok") as (ok,):
        jobs = sink("ops", ok.url, 'on = ["succeeded"]') + job("j", "true", every="1h")
        with Running(tmp_path, jobs, "--no-live") as running:
            running.wait_for_log("next, in another terminal")
            assert call(running, "once", "--sink", "ops", "--wait", "echo hello").returncode == 0
            wait_until(lambda: ok.events == [("succeeded",)], what="its report")
            assert ok.arrivals[0].first["output"] == ["hello"]
            assert call(running, "once", "--sink", "opps", "true").returncode == 4
