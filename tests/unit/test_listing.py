"""The list of the jobs in portions: what is in it whatever happens meanwhile, and that none is long."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.control_scene import Scene
from unit.engine_driver import make_job

from taskman_cli.core.engine.answers import FIELDS, job_item, quiet_item
from taskman_cli.core.engine.listing import PORTION, Listings
from taskman_cli.core.model import Account, Execution, Overlap, Policy, Settings
from taskman_cli.core.protocol import ListJobs, PauseJobs, TriggerJob
from taskman_cli.core.schedule import parse_cron
from taskman_cli.errors import Refused

if TYPE_CHECKING:
    from taskman_cli.core.engine.listing import Listing
    from taskman_cli.core.model import Job

MANY = 3 * PORTION


def many(count: int = MANY) -> tuple[Job, ...]:
    return tuple(make_job(f"job-{number}") for number in range(count))


def begin(scene: Scene, request: ListJobs | None = None, *, order: tuple[Job, ...] | None = None) -> Listing:
    jobs = scene.jobs if order is None else order
    return Listings(scene.engine).begin(request or ListJobs(), jobs, lambda _: ())


def rest(scene: Scene, listing: Listing) -> list[dict[str, Any]]:
    found = []
    while not listing.is_over:
        found += listing.portion(scene.now)
    return found


def names(scene: Scene, request: ListJobs | None = None) -> list[str]:
    return [item["job"] for item in rest(scene, begin(scene, request))]


def tagged(name: str, *tags: str) -> Job:
    return replace(make_job(name), tags=tags)


def test_all_jobs_come_in_the_order_of_the_files_then_one_off_jobs() -> None:
    jobs = many()
    scene = Scene(*reversed(jobs))
    for name in ("z", "a"):
        scene.once(name, at=60)
    listing = begin(scene, order=jobs)
    portions = []
    while not listing.is_over:
        portions.append(listing.portion(scene.now))
    assert [item["job"] for portion in portions for item in portion] == [*(job.id for job in jobs), "z", "a"]
    assert max(map(len, portions)) <= PORTION
    assert [*portions[0][0]] == [*FIELDS]
    armed = scene.engine.timetable.jobs["job-0"]
    assert portions[0][0] == job_item(scene.engine, armed, scene.now)


def test_a_list_of_no_jobs_is_over_with_its_first_portion() -> None:
    scene = Scene()
    listing = begin(scene)
    assert (listing.portion(scene.now), listing.is_over) == ([], True)


def test_each_job_is_told_as_it_is_when_its_portion_is_made() -> None:
    jobs = many()
    scene = Scene(*jobs)
    listing = begin(scene)
    first = listing.portion(scene.now)
    scene.ask(PauseJobs(jobs=[first[0]["job"], jobs[-1].id]))
    later = rest(scene, listing)
    assert (first[0]["state"], later[-1]["job"], later[-1]["state"]) == ("waiting", jobs[-1].id, "paused")


def test_jobs_that_are_gone_by_then_are_left_out_and_none_comes_twice_whatever_a_reload_moves() -> None:
    jobs = many()
    scene = Scene(*jobs)
    listing = begin(scene)
    first = [item["job"] for item in listing.portion(scene.now)]
    # What was told of already and what comes last are gone, the rest is turned around, and one is new.
    new = make_job("new")
    scene.reload(new, *reversed(jobs[1:-1]))
    found = [*first, *(item["job"] for item in rest(scene, listing))]
    assert found == [job.id for job in jobs[:-1]]


def test_one_off_jobs_that_come_or_end_meanwhile_leave_the_list_whole() -> None:
    scene = Scene(*many())
    scene.once("early", at=60)
    listing = begin(scene)
    listing.portion(scene.now)
    scene.once("late", at=60)
    found = [item["job"] for item in rest(scene, listing)]
    assert found[-2:] == ["early", "late"]


def test_a_one_off_job_with_the_name_of_a_job_of_the_files_comes_once_in_its_place() -> None:
    scene = Scene(make_job("a"), make_job("c"))
    scene.once("b", at=60)
    order = (make_job("a"), make_job("b"), make_job("c"))
    assert [item["job"] for item in rest(scene, begin(scene, order=order))] == ["a", "b", "c"]


def test_tags_states_and_one_off_jobs_are_chosen() -> None:
    jobs = (tagged("a", "db"), tagged("b", "web", "db"), tagged("c", "web"))
    scene = Scene(*jobs)
    scene.once("once", at=60)
    scene.ask(PauseJobs(jobs=["b"]))
    assert names(scene, ListJobs(tags=["db"])) == ["a", "b"]
    assert names(scene, ListJobs(tags=["db"], states=["paused", "over"])) == ["b"]
    assert names(scene, ListJobs(once=True)) == ["once"]
    assert names(scene, ListJobs(tags=["none"])) == []


def test_jobs_that_are_not_wanted_are_passed_over_many_in_a_portion_but_not_all_at_once() -> None:
    jobs = tuple(tagged(f"job-{number}", *["last"] * (number == 1_999)) for number in range(2_000))
    scene = Scene(*jobs)
    listing = begin(scene, ListJobs(tags=["last"]))
    portions = 0
    while not listing.is_over:
        found = listing.portion(scene.now)
        portions += 1
    assert ([item["job"] for item in found], 2 <= portions <= 5) == (["job-1999"], True)


def test_a_list_can_be_read_in_pages() -> None:
    jobs = many()
    scene = Scene(*jobs)
    scene.once("once", at=60)
    found: list[str] = []
    while page := names(scene, ListJobs(after=found[-1] if found else None, limit=PORTION + 1)):
        assert len(page) <= PORTION + 1
        found += page
    assert found == [*(job.id for job in jobs), "once"]


def test_a_page_counts_only_what_is_wanted() -> None:
    jobs = tuple(tagged(f"job-{number}", *["even"] * (number % 2 == 0)) for number in range(10))
    assert names(Scene(*jobs), ListJobs(tags=["even"], after="job-1", limit=2)) == ["job-2", "job-4"]


def test_a_page_after_a_job_that_is_gone_is_refused() -> None:
    scene = Scene(*many())
    listing = begin(scene, ListJobs(after="gone"))
    with pytest.raises(Refused, match="there is no job gone any more") as refused:
        rest(scene, listing)
    assert refused.value.exit_code == 4


def test_only_the_fields_that_are_asked_for_come_in_that_order() -> None:
    scene = Scene(make_job("a"))
    [item] = rest(scene, begin(scene, ListJobs(fields=["state", "job"])))
    assert [*item.items()] == [("state", "waiting"), ("job", "a")]


def test_a_brief_list_says_the_same_but_for_what_is_empty() -> None:
    jobs = (
        tagged("tagged", "db"), make_job("off", enabled=False), make_job("busy"), make_job("fails"),
        make_job("paused", parse_cron("* * * * *", timezone="UTC")),
        make_job("over", policy=Policy(max_runs=1)),
        replace(make_job("told"), description="words"), make_job("tasks", tasks=("a", "b")),
        make_job("anns", execution=Execution(user=Account("ann", 1000))),
        make_job("parked", policy=Policy(max_failures=1)),
    )  # fmt: skip
    scene = Scene(*jobs, settings=Settings(max_workers=2))
    scene.once("once", at=60)
    for name, code in (("fails", 3), ("parked", 3), ("over", 0)):
        scene.ask(TriggerJob(job=name))
        scene.ended(code=code)
    scene.ask(TriggerJob(job="busy"))
    scene.ask(PauseJobs(jobs=["paused"]))
    listings = Listings(scene.engine)

    def listed(request: ListJobs) -> list[dict[str, Any]]:
        """List them where a task of one job was removed."""
        return rest(scene, listings.begin(request, scene.jobs, lambda job: ("c",) if job == "tasks" else ()))

    whole, brief = listed(ListJobs()), listed(ListJobs(brief=True))
    assert brief == [{name: value for name, value in item.items() if value} for item in whole]
    assert [FIELDS | item for item in brief] == whole
    assert {item["state"] for item in whole} == {"waiting", "disabled", "running", "paused", "parked", "over"}
    for states in (["disabled"], ["paused", "running"], ["over"]):
        found = rest(scene, begin(scene, ListJobs(states=states, fields=["job", "tags"], brief=True)))
        expected = rest(scene, begin(scene, ListJobs(states=states, fields=["job", "tags"])))
        assert found == [{name: value for name, value in item.items() if value} for item in expected]


def test_a_parked_job_is_told_with_its_park_also_if_no_failures_are_known() -> None:
    scene = Scene(make_job("parked", policy=Policy(max_failures=1)))
    scene.ask(TriggerJob(job="parked"))
    scene.ended(code=3)
    armed = scene.engine.timetable.jobs["parked"]
    whole = job_item(scene.engine, armed, scene.now, ())
    assert quiet_item(armed, ())["park"] == whole["park"]
    assert whole["park"]["since_ns"] == scene.now.wall_ns


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ListJobs(fields=["job", "stat"]), "list: a job has no field 'stat' (did you mean \"state\"?)"),
        (ListJobs(fields=["xyzzy"]), "list: a job has no field 'xyzzy': not one of job, schedule, "),
        (ListJobs(limit=0), "list: limit cannot be 0"),
    ],
)
def test_what_cannot_be_listed_is_refused_in_words(request_: ListJobs, words: str) -> None:
    with pytest.raises(Refused) as refused:
        begin(Scene(), request_)
    assert (str(refused.value)[: len(words)], refused.value.exit_code) == (words, 2)


def test_a_job_at_work_takes_more_of_a_portion_and_a_long_queue_of_runs_no_more_than_its_first() -> None:
    policy = Policy(overlap=Overlap.QUEUE)
    jobs = tuple(make_job(f"job-{number}", policy=policy) for number in range(PORTION))
    scene = Scene(*jobs, settings=Settings(max_workers=1))
    for job in jobs:
        for _ in range(30):
            scene.ask(TriggerJob(job=job.id))
    listing = begin(scene)
    portions = []
    while not listing.is_over:
        portions.append(listing.portion(scene.now))
    items = [item for portion in portions for item in portion]
    assert [item["queued"] + len(item["running"]) for item in items] == [30] * PORTION
    assert max(len(item["waits"]) for item in items) == 20
    assert max(map(len, portions)) <= 2


def test_lists_keep_no_more_than_two_job_files_in_memory_and_none_when_they_are_over() -> None:
    class Files(list[Any]):
        """A list that can be watched."""

    scene = Scene(*many())
    listings = Listings(scene.engine)
    files = [Files(scene.jobs) for _ in range(4)]
    watched = [weakref.ref(file) for file in files]
    going = [listings.begin(ListJobs(), file, lambda _: ()) for file in files]
    for listing in going[2:]:
        listing.portion(scene.now)
    del files
    gc.collect()
    assert [ref() is not None for ref in watched] == [False, False, True, True]
    for listing in going[:2]:
        with pytest.raises(Refused, match="the job files have changed too often") as refused:
            listing.portion(scene.now)
        assert refused.value.may_repeat
    assert [item["job"] for item in rest(scene, going[2])][-1] == scene.jobs[-1].id
    file = Files(scene.jobs)
    watched = [weakref.ref(file)]
    going = [listings.begin(ListJobs(), file, lambda _: ()) for _ in range(3)]
    del file
    assert {len(rest(scene, listing)) for listing in going} == {MANY}
    del going, listing
    gc.collect()
    assert [ref() is not None for ref in watched] == [False]
