"""The text of the metrics: both formats, what labels may hold, and how many series there are."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.engine_driver import START, Driver, make_job

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine.figures import Figures
from taskman_cli.metrics.document import document
from taskman_cli.metrics.families import COUNTER, FAMILIES, HISTOGRAM, JOB_FAMILIES, Collected
from taskman_cli.metrics.processes import ProcessUse
from taskman_cli.metrics.text import Format, label_value, render, sample_name
from taskman_cli.scheduler.meters import Meters

USE = ProcessUse(1.5, 4096, 8192, 7, 1_700_000_000.25)


def collected(jobs: list[list[Any]] | None = None, *, with_jobs: bool = True) -> Collected:
    """Return what is collected from a scheduler that has just begun."""
    driver, meters = Driver((make_job(),)), Meters()
    meters.depths.watch("ready", lambda: 3)
    meters.depths.watch("clients", lambda: 70, is_bytes=True)
    whole = Figures(driver.engine).whole(driver.now) | meters.as_json()
    whole |= {
        "version": "1.2.3", "started_ns": START.wall_ns, "is_recording": True, "with_jobs": with_jobs,
        "resources": [["db", 1, 2], ["any", 5, None]],
        "executors": [
            ["local", True, 1, 2, 3, {"succeeded": 4, "failed": 5}, 0, None],
            ["far", False, 1, 2, 3, {"succeeded": 4, "failed": 5}, 6, [3, 7, 12]],
        ],
    }  # fmt: skip
    if jobs is None:
        jobs = [job("backup")]
    return Collected(whole, jobs, {"scheduler": USE})


def job(
    name: str, *, success_ns: int | None = 90 * SECOND_NS, slot_ns: int | None = 100 * SECOND_NS
) -> list[Any]:
    return [name, 1, 2, 3, success_ns, slot_ns, 2 * SECOND_NS, True, False]


SAMPLE = re.compile(
    r'(?P<name>[a-z_:]+)(?:\{(?P<labels>(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (?P<value>\S+)'
)


def samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Read the samples of a text, in its order, as a scraper does."""
    found = []
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            labels = dict(re.findall(r'([a-z]+)="((?:[^"\\\n]|\\.)*)"', match["labels"] or ""))
            found.append((match["name"], labels, float(match["value"])))
    return found


@pytest.mark.parametrize("form", Format)
def test_every_metric_has_a_heading_and_samples_and_no_series_comes_twice(form: Format) -> None:
    text = render(collected(), form)
    headed = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)
    is_open = form is Format.OPENMETRICS
    assert headed == [
        (family.name, family.kind)
        if is_open
        else (sample_name(family), "gauge" if family.kind == "info" else family.kind)
        for family in (*FAMILIES, *JOB_FAMILIES)
    ]
    assert re.findall(r"^# HELP (\S+) \S", text, re.M) == [name for name, _ in headed]
    found = samples(text)
    series = Counter((name, *sorted(labels.items())) for name, labels, _ in found)
    assert max(series.values()) == 1
    with_samples = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _, _ in found}
    assert with_samples == {sample_name(family) for family in (*FAMILIES, *JOB_FAMILIES)}
    assert text.endswith("\n# EOF\n") is is_open


def test_open_metrics_names_units_that_the_names_end_in() -> None:
    text = render(collected(), Format.OPENMETRICS)
    units = re.findall(r"^# UNIT (\S+) (\S+)$", text, re.M)
    assert ("taskman_run_duration_seconds", "seconds") in units
    assert [name for name, unit in units if not name.endswith(f"_{unit}")] == []
    assert "# UNIT" not in render(collected(), Format.PROMETHEUS)


def test_names_keep_to_the_conventions() -> None:
    for family in (*FAMILIES, *JOB_FAMILIES):
        assert re.fullmatch(r"taskman_[a-z]+(_[a-z]+)*", family.name)
        assert not family.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
        assert sample_name(family).endswith("_total") is (family.kind == COUNTER)
        assert not family.unit or family.name.endswith(family.unit)
        assert family.help.endswith(".")
        assert "\\" not in family.help
        assert "\n" not in family.help


def test_series_begin_at_0_and_a_job_has_at_most_eight() -> None:
    driver = Driver((make_job(),))
    number = Figures(driver.engine)
    portion = number.jobs(number.begin(START), 0)
    assert portion is not None
    fresh = [
        name
        for name, labels, _ in samples(render(collected([list(portion[0][0])]), Format.PROMETHEUS))
        if "job" in labels
    ]
    assert Counter(fresh) == {
        "taskman_job_runs_total": 3, "taskman_job_next_slot_timestamp_seconds": 1, "taskman_job_parked": 1,
        "taskman_job_paused": 1,
    }  # fmt: skip
    full = [labels for _, labels, _ in samples(render(collected(), Format.PROMETHEUS)) if "job" in labels]
    assert len(full) == 8
    assert [family.name for family in FAMILIES if "job" in family.labels] == []


def test_values_are_those_that_were_collected() -> None:
    found = {
        (name, *labels.values()): value
        for name, labels, value in samples(render(collected(), Format.PROMETHEUS))
    }
    assert found["taskman_job_runs_total", "backup", "failed"] == 2
    assert found["taskman_job_last_success_timestamp_seconds", "backup"] == 90
    assert found["taskman_job_last_duration_seconds", "backup"] == 2
    assert found["taskman_job_parked", "backup"] == 1
    assert found["taskman_queue_depth", "ready"] == found["taskman_queue_depth_max", "ready"] == 3
    assert found["taskman_buffer_bytes", "clients"] == 70
    assert found["taskman_resource_used", "any"] == 5
    assert ("taskman_resource_limit", "any") not in found
    assert found["taskman_build_info", "1.2.3"] == 1
    assert found["taskman_ledger_writable",] == 1
    assert found["taskman_process_resident_memory_bytes", "scheduler"] == 4096
    assert found["taskman_process_start_time_seconds", "scheduler"] == 1_700_000_000.25


def test_the_buckets_of_a_histogram_add_up_to_its_count() -> None:
    what = collected()
    what.whole["run_duration"] = {"bounds_ns": [5 * 10**6, 10**9], "counts": [2, 0, 1], "total_ns": 7 * 10**9}
    lines = render(what, Format.OPENMETRICS).split("\n")
    assert [line for line in lines if line.startswith("taskman_run_duration_seconds")] == [
        'taskman_run_duration_seconds_bucket{le="0.005"} 2',
        'taskman_run_duration_seconds_bucket{le="1.0"} 2',
        'taskman_run_duration_seconds_bucket{le="+Inf"} 3',
        "taskman_run_duration_seconds_count 3",
        "taskman_run_duration_seconds_sum 7.0",
    ]


def test_without_jobs_nothing_is_said_of_one() -> None:
    text = render(collected([], with_jobs=False), Format.PROMETHEUS)
    assert "taskman_job_" not in text
    assert "taskman_jobs 1\n" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"), ('a "b"', r"a \"b\""), ("back\\slash", r"back\\slash"),
        ("new\nline", r"new\nline"), ("caf\udce9", r"caf\\xe9"), ("größe", "größe"),
    ],
)  # fmt: skip
def test_the_value_of_a_label_is_escaped(name: str, shown: str) -> None:
    assert label_value(name) == shown


@given(st.lists(st.text(st.characters() | st.sampled_from('"\\\n\udc80\udcff')), unique=True, max_size=6))
def test_whatever_jobs_are_called_each_has_its_own_series_and_the_text_can_be_read(names: list[str]) -> None:
    text = render(collected([job(name) for name in names]), Format.OPENMETRICS)
    text.encode("utf-8")
    shown = [labels["job"] for name, labels, _ in samples(text) if name == "taskman_job_parked"]
    assert len(set(shown)) == len(names)


def test_a_document_says_the_same() -> None:
    told = document(collected())
    assert [family["metric"] for family in told] == [
        sample_name(family) for family in (*FAMILIES, *JOB_FAMILIES)
    ]
    by_name = {family["metric"]: family for family in told}
    assert by_name["taskman_job_runs_total"]["samples"] == [
        {"labels": {"job": "backup", "state": state}, "value": value}
        for state, value in (("succeeded", 1), ("failed", 2), ("cancelled", 3))
    ]
    assert by_name["taskman_job_last_success_timestamp_seconds"]["samples"][0]["value"] == 90.0
    [delays] = by_name["taskman_start_delay_seconds"]["samples"]
    assert (delays["count"], delays["sum"], delays["buckets"]["+Inf"]) == (0, 0.0, 0)
    assert {family["type"] for family in told} == {"counter", "gauge", HISTOGRAM, "info"}
    assert all("taskman_job_" not in family["metric"] for family in document(collected([], with_jobs=False)))
