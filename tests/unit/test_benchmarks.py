"""The benchmarks' own reading and arithmetic, and that every script states its question."""

from __future__ import annotations

import importlib
import struct
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: What the scripts share, and what one of them starts.
SHARED = {
    "harness", "procfs", "taskman", "load_once", "peers", "ledger_rows", "scaling_stage", "scaling_loads",
    "scaling_pools", "scaling_plays", "scaling_aims",
}  # fmt: skip
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in SHARED)
QUESTIONS = {
    "starts",
    "executors",
    "herd",
    "ledger",
    "load",
    "idle_start",
    "idle",
    "startup",
    "control",
    "due_queue",
    "next_slot",
    "scaling",
    "sinks",
    "sink_rate",
    "scrape",
    "lists",
    "armed",
    "live_view",
    "pool_herds",
    "simulate",
    "crontab_mix",
    "many_jobs",
    "ledger_growth",
}


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts import what they share, as they do when they are run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def module(name):
    return importlib.import_module(name)


def test_there_is_one_script_a_question():
    assert set(SCRIPTS) == QUESTIONS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_asks_its_question_in_the_first_line_and_can_be_run(name):
    script = module(name)
    first_line = script.__doc__.splitlines()[0]
    assert first_line.endswith("?")
    assert callable(script.measure)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shadows_no_module_of_the_standard_library(name):
    # Its directory comes first on sys.path, so `queue.py` there would break whatever imports `queue`.
    import sys

    assert name not in sys.stdlib_module_names


def test_stamps_are_read_in_order_of_time():
    content = struct.pack("=qqq", 30, 10, 20)
    assert module("harness").parse_stamps(content) == [10, 20, 30]


def test_a_torn_file_of_stamps_is_refused():
    harness = module("harness")
    with pytest.raises(harness.BenchmarkError, match="13 bytes"):
        harness.parse_stamps(b"x" * 13)


def test_contestants_take_turns_and_keep_their_values():
    calls = []

    def contestant(name, value):
        def run():
            calls.append(name)
            return value

        return run

    measured = module("harness").in_turn(
        2, {"floor": contestant("floor", 1.0), "ours": contestant("ours", 2.0)}
    )
    assert calls == ["floor", "ours", "floor", "ours"]
    assert measured == {"floor": [1.0, 1.0], "ours": [2.0, 2.0]}


def test_the_ratio_is_the_median_of_the_rounds_so_one_noisy_round_does_not_count():
    assert module("harness").paired_ratio([2.0, 30.0, 4.0], [1.0, 3.0, 2.0]) == 2.0


def test_a_figure_is_one_line_that_programs_can_split():
    figure = module("harness").Figure
    assert str(figure("starts.sh", 0.81234, ">= 0.8")) == "ratio starts.sh 0.812 (aim >= 0.8)"
    assert str(figure("idle.cpu_ms_a_minute", 1.0)) == "ratio idle.cpu_ms_a_minute 1.000 (no aim)"


def test_a_table_is_aligned_names_left_and_numbers_right():
    lines = list(module("harness").align([("way", "ms"), ("C", "7.5"), ("taskman", "12.0")]))
    assert lines == ["way        ms", "C         7.5", "taskman  12.0"]


def test_wakeups_are_the_voluntary_switches():
    status = "Name:\tpython\nThreads:\t1\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t7\n"
    assert module("procfs").parse_wakeups(status) == 12


def test_the_time_of_reaped_children_is_read_behind_any_name():
    stat = "7 (a) b) c) S 1 7 7 0 -1 0 1 2 3 4 50 60 70 80 20 0 1"
    assert module("procfs").parse_reaped_cpu_s(stat, ticks_a_second=100) == 1.5


def test_memory_is_read_in_bytes():
    procfs = module("procfs")
    text = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:   2048 kB\nPss:   1024 kB\nPss_Dirty:  5 kB\n"
    assert procfs.parse_memory(text) == procfs.Memory(rss_bytes=2 << 20, pss_bytes=1 << 20)


def test_what_others_used_is_neither_idle_nor_waiting_nor_ours():
    parse = module("procfs").parse_machine_time
    before = parse("cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 2 3\n", own_s=5.0, ticks_a_second=10)
    after = parse("cpu  130 0 110 1050 10 0 0 0 7 0\ncpu0 1 2 3\n", own_s=6.0, ticks_a_second=10)
    assert (before.total_s, before.busy_s) == (120.0, 20.0)
    assert after.others_share(before) == pytest.approx(0.3)


def test_usage_adds_up_over_threads_and_subtracts_over_time():
    usage = module("procfs").Usage
    before, after = usage(cpu_ns=5, wakeups=1), usage(cpu_ns=8, wakeups=3)
    assert after - before == usage(cpu_ns=3, wakeups=2)
    assert before + after == usage(cpu_ns=13, wakeups=4)


def test_a_job_is_written_as_toml_that_reads_back():
    taskman = module("taskman")
    text = taskman.job("a", at_ns=1_500_000_000_250_000_000, command=["/bin/echo", 'say "hi"'], priority=-10)
    text += taskman.job("b", command="x", every="2h")
    at = datetime(2017, 7, 14, 2, 40, 0, 250_000, tzinfo=UTC)
    assert tomllib.loads(text)["jobs"] == {
        "a": {"command": ["/bin/echo", 'say "hi"'], "at": at, "priority": -10},
        "b": {"command": "x", "every": "2h"},
    }


def test_the_log_tells_good_lines_from_others_and_counts_successes():
    taskman = module("taskman")
    good = "2026-11-24T04:06:44+01:00 info    a: succeeded after 3ms"
    bad = "2026-11-24T04:06:44+01:00 error   b: failed (exit 1) after 3ms"
    assert [taskman.is_information(line) for line in (good, bad, "", "Traceback")] == [
        True,
        False,
        False,
        False,
    ]
    assert taskman.count_successes([good, bad, good]) == 2


def test_lateness_pairs_slots_and_starts_in_order():
    assert module("idle_start").lateness_ms([0, 10_000_000], [1_500_000, 10_250_000]) == [1.5, 0.25]


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        pytest.param([1], "1 starts for 2 slots", id="a start that never was"),
        pytest.param([1, 9_000_000], "1.0 ms before its slot", id="a start too early"),
    ],
)
def test_lateness_refuses_what_cannot_be(stamps, message):
    error = module("harness").BenchmarkError
    with pytest.raises(error, match=message):
        module("idle_start").lateness_ms([0, 10_000_000], stamps)


def test_the_file_of_many_jobs_has_that_many_and_few_distinct_expressions():
    jobs = tomllib.loads(module("load").write_jobs(2000))["jobs"]
    assert len(jobs) == 2000
    assert len({job["cron"] for job in jobs.values()}) == module("load").EXPRESSIONS
    assert len({job["command"] for job in jobs.values()}) == 2000


def test_the_jobs_of_the_idle_benchmark_are_hours_away():
    slot_ns = 1_800_000_000 * 1_000_000_000
    hour = datetime.fromtimestamp(1_800_000_000, UTC).hour
    jobs = tomllib.loads(module("idle").write_jobs("/stamp", "/stamps", slot_ns))["jobs"]
    hours_away = [(int(job["cron"].split()[1]) - hour) % 24 for job in jobs.values() if "cron" in job]
    assert len(jobs) == module("idle").JOBS
    assert min(hours_away) >= 4


def test_what_loads_and_arms_takes_the_file_of_many_jobs(tmp_path):
    path = tmp_path / "jobs.toml"
    path.write_text(module("load").write_jobs(50))
    assert len(module("load_once").make_taskman_load()(path).timetable.jobs) == 50


def test_a_second_without_a_probe_counts_until_there_is_one():
    course = module("pool_herds").course
    second = 10**9
    went = course(10 * second, [11 * second, 14 * second + 5], [9 * second, 11 * second + 3, 13 * second + 7])
    assert went.last_end_s == 4 + 5e-9
    assert went.probes_s == (3e-9, 1 + 7e-9, 7e-9, 5e-9)


@pytest.mark.parametrize("shape", ["spread", "minutes"])
def test_each_job_of_the_simulated_week_is_due_every_ten_minutes(shape):
    simulate = module("simulate")
    tables = tomllib.loads(simulate.write_jobs("auto", shape))["jobs"]
    seconds, minutes = zip(*(job["cron"].split()[:2] for job in tables.values()), strict=True)
    assert len(tables) == simulate.JOBS
    assert {minute.removesuffix("-59/10") for minute in minutes} == set("0123456789")
    assert len(set(seconds)) == (60 if shape == "spread" else 1)


def test_a_simulated_slot_has_a_run_or_a_skip_or_is_not_over():
    simulation = {"runs": {"succeeded": 5, "failed": 1}, "skips": {"overlap": 2}, "unfinished": 1}
    assert module("simulate").count_slots(simulation) == 9


def test_the_mix_of_lines_has_the_shares_that_real_crontabs_have():
    from taskman_cli.core.simplecommand import read_simple_command

    mix = module("crontab_mix")
    read = [read_simple_command(line.replace("{d}", "/d")) for line in mix.LINES]
    bare = [number for number, simple in enumerate(read) if simple is not None and simple.is_plain]
    assert bare == list(range(mix.PLAIN_COUNT))
    # Of 251 commands in 167 crontabs: bare; these and constant redirections; these and cd and variables.
    only_redirected = [
        simple for simple in read if simple and not simple.assignments and simple.directory is None
    ]
    # `cd DIRECTORY;` and `export` were not counted there.
    counted = [simple for simple, line in zip(read, mix.LINES, strict=True) if simple and ";" not in line]
    shares = [len(each) / len(read) for each in (only_redirected, counted)]
    assert (mix.PLAIN_COUNT / len(read), *shares) == pytest.approx((0.36, 0.57, 0.61), abs=0.03)


def test_a_moment_is_calm_if_the_machine_was_not_slow_before_it_or_after_it():
    calm_moments = module("lists").calm_moments
    usual, slow = 100, 250
    paces = (
        [usual, slow, usual, usual, usual, usual, usual, usual]
        + [usual] * 8
        + [usual] * 2
        + [slow]
        + [usual] * 5
    )
    assert calm_moments(paces, 3, first=0) == [False, True, False]
    assert calm_moments(paces, 2, first=4) == [True, True]
