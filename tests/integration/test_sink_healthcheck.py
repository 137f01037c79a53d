"""Pings of checks, as healthchecks.io has them."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from integration.receivers import web_server

from taskman_cli.core.sinks import ReportKind, SinkDefinition
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import REPORT, check, check_network, message
from taskman_cli.sinks.types import make
from taskman_cli.trust import Trust

AROUND = Surroundings(environ={"URL": "x"}, trust=Trust(is_checked=False))
_TOKEN = "d1665499-e827-441f-bf13-8f15e8f4c0b9"


def healthcheck(**settings: Any) -> SinkDefinition:
    return SinkDefinition("hc", "healthcheck", settings=settings)


@pytest.mark.parametrize(
    ("kind", "exit_code", "expected"),
    [
        (ReportKind.STARTED, None, "/start"),
        (ReportKind.SUCCEEDED, 0, ""),
        (ReportKind.RECOVERED, 0, ""),
        (ReportKind.FAILED, 3, "/3"),
        (ReportKind.FAILED, 255, "/255"),
        (ReportKind.FAILED, 0, "/fail"),
        (ReportKind.FAILED, None, "/fail"),
        (ReportKind.TIMED_OUT, None, "/fail"),
        (ReportKind.LOST, None, "/fail"),
        (ReportKind.CANCELLED, None, "/log"),
        (ReportKind.SKIPPED, None, "/log"),
        (ReportKind.SLOW, None, "/log"),
    ],
)
def test_each_kind_has_a_path_of_its_own(kind: ReportKind, exit_code: int | None, expected: str) -> None:
    with web_server() as web:
        url = f"{web.url}/{_TOKEN}?create=1"
        make(healthcheck(url=url), AROUND).deliver(
            message(replace(REPORT, kind=kind, exit_code=exit_code)), 10.0
        )
    parts = urlsplit(web.got[0].path)
    assert parts.path == f"/{_TOKEN}{expected}"
    query = parse_qs(parts.query)
    assert query["create"] == ["1"]
    assert str(uuid.UUID(query["rid"][0])) == query["rid"][0]
    assert web.got[0].body.endswith(b"connecting\ncannot connect")


def test_a_run_has_one_id_from_start_to_end_and_others_have_others() -> None:
    reports = [replace(REPORT, kind=ReportKind.STARTED), REPORT, replace(REPORT, run="another")]
    with web_server() as web:
        make(healthcheck(url=web.url), AROUND).deliver(message(*reports), 10.0)
    ids = [re.search("rid=([^&]*)", got.path)[1] for got in web.got]  # type: ignore[index]
    assert ids[0] == ids[1] != ids[2]


def test_a_job_has_a_check_of_its_own() -> None:
    with web_server() as web:
        of_all = make(healthcheck(url=f"{web.url}/key/{{job}}", urls={"db": f"{web.url}/own"}), AROUND)
        for job in ("Backup", "db"):
            of_all.deliver(message(replace(REPORT, job=job, kind=ReportKind.SUCCEEDED)), 10.0)
        named = make(healthcheck(urls={"db": f"{web.url}/own"}), AROUND)
        answer = named.deliver(message(), 10.0)
    assert [urlsplit(got.path).path for got in web.got] == ["/key/backup", "/own"]
    assert answer == "nothing to ping: it is about no job"


def test_what_is_about_the_scheduler_pings_a_check_of_all_jobs_only() -> None:
    died = replace(REPORT, kind=ReportKind.SCHEDULER_DIED, job="", run="")
    with web_server() as web:
        make(healthcheck(url=f"{web.url}/all"), AROUND).deliver(message(died), 10.0)
        make(healthcheck(url=f"{web.url}/{{job}}"), AROUND).deliver(message(died), 10.0)
    assert [got.path for got in web.got] == ["/all/fail"]


def test_it_stands_the_suite() -> None:
    with web_server() as web:
        check(healthcheck(url=f"{web.url}/{_TOKEN}"), surroundings=AROUND, secrets=[_TOKEN])
    assert all(len(got.body) <= 100_000 for got in web.got)
    check_network(
        lambda host, port: healthcheck(url=f"http://{host}:{port}/{_TOKEN}"),
        surroundings=AROUND,
        secrets=[_TOKEN],
    )


def test_a_check_that_is_not_there_is_a_failure() -> None:
    with (
        web_server((404, {}, b"not found")) as web,
        pytest.raises(DeliveryFailed, match="HTTP 404 Not Found: not"),
    ):
        make(healthcheck(url=web.url), AROUND).deliver(message(), 10.0)
