"""Why attempts wait, as status, list and why tell it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskman_cli.core.engine import events
from taskman_cli.core.engine.abroad import Abroad
from taskman_cli.core.engine.answers import job_item, status
from taskman_cli.core.engine.waits import amount_words, bare_amount
from taskman_cli.core.executors import ExecutorDefinition, seats_of
from taskman_cli.core.model import Execution, Job, Mode, Overlap, Policy, Resource, Retry, Settings
from taskman_cli.core.protocol import PauseJobs, TriggerJob
from tests.unit.control_scene import Scene
from tests.unit.engine_driver import FIXED, START, make_job, seconds

POOL = Settings(resources=(("api", Resource(rate=6, per_ns=seconds(60))), ("db", Resource(2))))


def needing(name: str, *tasks: str, **amounts: int) -> Job:
    execution = Execution(resources=tuple(sorted(amounts.items())))
    policy = Policy(overlap=Overlap.QUEUE)
    return make_job(name, execution=execution, policy=policy, tasks=tasks or ("main",))


def waits(scene: Scene, job: str) -> list[tuple[str, str]]:
    found = job_item(scene.engine, scene.engine.timetable.jobs[job], scene.now)
    return [(wait["for"], wait["reason"]) for wait in found["waits"]]


def told(scene: Scene) -> dict[str, Any]:
    return status(scene.engine, scene.now, started_ns=0)


def trigger(scene: Scene, *jobs: str) -> None:
    for job in jobs:
        scene.ask(TriggerJob(job=job))


def test_nothing_waits_where_there_is_room() -> None:
    scene = Scene(needing("a", db=1), settings=POOL)
    trigger(scene, "a")
    assert (waits(scene, "a"), told(scene)["waiting"]) == ([], [])


def test_a_wait_for_a_worker() -> None:
    scene = Scene(make_job("a"), make_job("b"), settings=Settings(max_workers=1))
    trigger(scene, "a", "b")
    assert waits(scene, "b") == [("worker", "for a worker: all 1 are busy")]


def test_a_wait_for_a_resource_names_who_holds_most_of_it_and_since_when() -> None:
    scene = Scene(needing("a", db=1), needing("b", "x", "y", db=1), needing("c", db=2), settings=POOL)
    trigger(scene, "a")
    scene.now = scene.now._replace(elapsed_ns=scene.now.elapsed_ns + seconds(3))
    trigger(scene, "c")
    assert waits(scene, "c") == [("resource", "for 2 db; a (1 db) holds it")]
    (row,) = told(scene)["waiting"]
    assert tuple(row[key] for key in ("job", "task", "resource", "amount")) == ("c", "main", "db", 2)
    (holder,) = row["holders"]
    assert (holder["job"], holder["amount"]) == ("a", 1)
    assert holder["since_ns"] == scene.now.wall_ns - seconds(3)
    trigger(scene, "b")
    assert waits(scene, "b") == [
        ("resource", "for 1 db, which is kept for one that waits before it"),
        ("resource", "for 1 db, which is kept for one that waits before it"),
    ]
    scene.ended(scene.starts[0].key)
    scene.ended()
    trigger(scene, "c")
    assert waits(scene, "c") == [("resource", "for 2 db; b.x (1 db) holds most")]


def test_a_wait_for_a_rate() -> None:
    scene = Scene(needing("a", api=1), needing("b", api=1), settings=POOL)
    trigger(scene, "a", "b")
    assert waits(scene, "b") == [("rate", "for api: its rate of 6 in 1m is used up")]


def test_a_wait_for_an_earlier_run_of_the_job() -> None:
    scene = Scene(needing("a"), settings=POOL)
    trigger(scene, "a", "a")
    assert waits(scene, "a") == [("earlier_run", f"for run {scene.starts[0].run} of its job to end")]
    assert told(scene)["waiting"] == []


def test_a_wait_for_the_next_try() -> None:
    scene = Scene(make_job(execution=Execution(retry=Retry(max=1, delay_ns=seconds(5)))))
    trigger(scene, "job")
    scene.ended(code=1)
    assert waits(scene, "job") == [("retry", "for its next try")]


def test_a_wait_for_room_on_the_machine_and_for_the_ledger() -> None:
    scene = Scene(make_job())
    trigger(scene, "job")
    scene.send(events.StartFailed(scene.starts[-1].key, "no room", True, scene.now))
    assert waits(scene, "job") == [("room", "until the machine has room for another process")]
    other = Scene(make_job())
    trigger(other, "job")
    other.send(events.StartHeld(other.starts[-1].key))
    assert waits(other, "job") == [("ledger", "until its start can be recorded")]


def test_all_wait_for_the_ledger_while_it_cannot_be_written_and_for_room_if_that_is_what_lacks() -> None:
    policy = Policy(overlap=Overlap.ALLOW)
    scene = Scene(make_job("tried", policy=policy), make_job("other"))
    trigger(scene, "tried")
    trigger(scene, "tried")
    failed, held = [start.key for start in scene.starts]
    scene.send(events.StartHeld(held))
    scene.send(events.StartFailed(failed, "no room", True, scene.now))  # asked for before that
    trigger(scene, "other")
    assert waits(scene, "other") == [("ledger", "until its start can be recorded")]
    scene.send(events.StartsReleased())
    scene.send(events.StartFailed(scene.starts[-1].key, "no room", True, scene.now))
    assert waits(scene, "other") == [("room", "until the machine has room for another process")]


def test_of_two_that_need_the_same_the_first_is_not_said_to_wait_for_one_before_it() -> None:
    rare = Resource(5, rate=1, per_ns=seconds(3600), burst=3)
    settings = replace(
        FIXED, executors=(ExecutorDefinition("far", "ssh"),),
        resources=((seats_of("far"), Resource()), ("api", rare)),
    )  # fmt: skip
    here = Execution(resources=(("api", 3),))
    far = Execution(executor="far", resources=(("api", 3), (seats_of("far"), 1)))
    jobs = (make_job("used", execution=here), make_job("a", execution=here), make_job("b", execution=far))
    scene = Scene(*jobs, settings=settings)
    for name in ("used", "a", "b"):
        trigger(scene, name)
    scene.ended()
    assert waits(scene, "a") == [("rate", "for api: its rate of 1 in 1h is used up")]
    assert waits(scene, "b") == [("resource", "for 3 api, which is kept for one that waits before it")]


def test_a_wait_for_a_stopped_job_to_go_on() -> None:
    scene = Scene(make_job(policy=Policy(mode=Mode.SEQUENCE), tasks=("a", "b")))
    trigger(scene, "job")
    scene.ask(PauseJobs(jobs=["job"], stop=True))
    scene.ended()
    assert waits(scene, "job") == [("resume", "until its job is resumed")]


def test_the_resources_are_told_with_what_is_held_and_how_many_wait() -> None:
    scene = Scene(needing("a", db=2, ram=6 * 10**9), needing("b", db=1), needing("c", api=1), settings=POOL)
    trigger(scene, "a", "b", "c")
    api, db, ram = told(scene)["resources"]
    assert (api["rate"], api["burst"], api["tokens"]) == ({"count": 6, "per_s": 60.0}, 1, 0)
    assert tuple(db[key] for key in ("limit", "held", "waiting", "rate", "tokens")) == (2, 2, 1, None, None)
    assert (ram["limit"], ram["held"]) == (None, 6 * 10**9)
    assert [holder["job"] for holder in db["holders"]] == ["a"]
    assert db["holders"][0]["since_ns"] == START.wall_ns


@pytest.mark.parametrize(
    ("resource", "amount", "words", "bare"),
    [("db", 1200, "1,200 db", "1,200"), ("ram", 1_200_000_000, "1.2 GB", "1.2 GB")],
)
def test_an_amount_in_words(resource: str, amount: int, words: str, bare: str) -> None:
    assert (amount_words(resource, amount), bare_amount(resource, amount)) == (words, bare)


def test_a_job_without_a_run_waits_for_nothing() -> None:
    scene = Scene(make_job())
    assert scene.engine.waits(scene.now).of_job(None, 5) == []


def test_an_executor_of_which_nothing_is_known_is_named_alone() -> None:
    assert Abroad().why_away("far", 0) == "for executor far, which nothing can begin on now"
