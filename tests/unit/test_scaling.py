"""The benchmark of the pool: its stage, its contestants, and that a missed aim is said to be."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.no_cover  # the engine is only used


@pytest.fixture(autouse=True)
def _benchmarks_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts import what they share, as they do when they are run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def module(name):
    return importlib.import_module(name)


def on_stage(pool, *works, cpus=1, memory_mb=1000.0):
    """Let a pool play."""
    stage = module("scaling_stage").Stage(cpus, memory_mb, list(works), pool)
    pool.stage = stage
    return stage.play()


def play(*works, seats=float("inf"), **machine):
    """Play work in a fixed pool."""
    return on_stage(module("scaling_pools").Fixed(seats), *works, **machine)


def work(kind="x", at_s=1.0, **does):
    return module("scaling_stage").Work(kind, at_s, **does)


# --- the stage ---


def test_what_is_to_be_done_begins_when_it_comes_and_ends_when_it_is_done():
    stage = play(work(cpu_s=0.5, sleep_s=2, disk_s=1), work(at_s=3, sleep_s=2))
    first, second = stage.works
    assert (first.started_s, second.started_s) == (1, 3)
    assert first.ended_s == pytest.approx(1 + 0.005 + first.alone_s)
    assert second.wait_s == 0


def test_late_work_looks_like_a_sleeper_first():
    stage = play(work(cpu_s=1, sleep_s=1, is_late=True), work(cpu_s=0.5))
    assert stage.works[1].ended_s == pytest.approx(1.5, abs=0.05)


def test_how_it_stands_is_noted_each_second_and_so_is_memory_that_is_not_there():
    stage = play(work(cpu_s=1, sleep_s=3, memory_mb=1100))
    assert [sample.running for sample in stage.samples][:3] == [0, 1, 1]
    assert stage.samples[0].at_s == 1
    assert stage.over_ns > 10**9
    assert stage.peak == pytest.approx(1.1)
    assert play(work(cpu_s=1, sleep_s=3, memory_mb=900)).over_ns == 0


def test_tasks_of_others_are_runnable_now_and_then():
    stage = play(work(sleep_s=1))
    assert {stage.runnable for _ in range(100)} == {0, 1}


def test_what_is_killed_again_and_again_is_given_up():
    stage = play(work(cpu_s=3, memory_mb=2000))
    assert (stage.machine.kills, stage.works[0].kills) == (4, 4)
    assert not stage.running
    assert stage.works[0].ended_s < 10


def test_what_has_not_ended_at_the_horizon_counts_as_if_it_had_then():
    stage = play(work(sleep_s=5000))
    assert stage.works[0].response_s == 1999


# --- the contestants ---


def test_a_fixed_pool_runs_so_many_at_once_and_goes_by_priority():
    stage = play(*(work(cpu_s=1) for _ in range(3)), work("probe", cpu_s=1, priority=1), seats=1)
    starts = sorted((each.started_s, each.kind) for each in stage.works)
    assert [kind for _, kind in starts] == ["probe", "x", "x", "x"]
    assert stage.works[0].wait_s > 0.9


def test_one_that_knows_all_keeps_within_memory_and_cores():
    know_all = module("scaling_pools").KnowAll(0, is_careful=False)
    stage = on_stage(know_all, *(work(sleep_s=2, memory_mb=300) for _ in range(9)))
    assert (stage.machine.kills, round(stage.peak, 2)) == (0, 0.9)
    burns = on_stage(
        module("scaling_pools").KnowAll(0, is_careful=True), *(work(cpu_s=1, sleep_s=1) for _ in range(9))
    )
    assert max(sample.running for sample in burns.samples) < 4


def test_the_controller_of_go_taskman_has_one_seat_first_and_more_where_much_waits():
    pool = module("scaling_pools").GoTaskman()
    stage = on_stage(pool, *(work(sleep_s=4) for _ in range(100)))
    assert stage.samples[0].running <= 2
    assert stage.samples[5].running > 20
    assert all(each.ended_s < 99 for each in stage.works)


def test_our_engine_runs_all_of_it_and_learns_what_it_needs():
    works = [work("mem", sleep_s=1.5, cpu_s=0.1, memory_mb=150) for _ in range(20)]
    works += [work("probe", at_s=0.5 + n, cpu_s=0.01, memory_mb=3, priority=1) for n in range(5)]
    pool = module("scaling_pools").Taskman(works)
    stage = on_stage(pool, *works, memory_mb=1000)
    assert all(each.ended_s < 60 for each in stage.works)
    assert (stage.machine.kills, stage.peak <= 1) == (0, True)
    mb = 1 << 20
    assert pool.needs["mem", "main"] == pytest.approx(150 * mb, rel=0.2)
    assert pool.laws.below_running == 0
    assert pool.laws.lines


def test_the_same_seed_is_the_same_play():
    plays = module("scaling_plays")
    assert plays.play("heavy", 1, "fixed 4", seed=3) == plays.play("heavy", 1, "fixed 4", seed=3)
    assert plays.play("heavy", 1, "fixed 4", seed=3) != plays.play("heavy", 1, "fixed 4", seed=4)
    ours = plays.play_ours("mem_herd", 1, seed=1)
    assert ours == plays.play_ours("mem_herd", 1, seed=1)


@pytest.mark.parametrize("cpus", [1, 2])
def test_what_burns_late_leaves_the_priority_seat_to_the_probes(cpus):
    loads, plays = module("scaling_loads"), module("scaling_plays")
    load = loads.make_load("cpu_late", plays.SIZES[cpus], 1)
    stage = on_stage(
        module("scaling_pools").Taskman(load.works), *load.works, cpus=cpus, memory_mb=plays.MEMORY_MB
    )
    assert max(each.wait_s for each in stage.works if each.kind == "probe") <= 0.1


def test_looks_that_are_good_for_longer_are_fewer():
    plays = module("scaling_plays")
    (often, usual), (seldom, late) = (plays.play_credit(1, ms * 10**6, seed=1) for ms in (10, 50))
    assert seldom < often / 2 < 1
    assert late.response99 > usual.response99


def test_each_of_the_eighteen_loads_is_made_and_most_have_a_step():
    loads = module("scaling_loads")
    made = {name: loads.make_load(name, 0.5, 1) for name in loads.LOADS}
    assert len(made) == 18
    assert all(load.works for load in made.values())
    assert {name for name, load in made.items() if load.step_s is None} == {
        "ramp", "sawtooth", "heavy", "mix", "own_mix",
    }  # fmt: skip
    assert made["cpu_herd"].demand_after_step(25, 1) > 1.5
    kinds = [each.kind for each in made["own_mem_herd"].works]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([], 0),
        ([1, 5, 9, 9], 0),
        ([9, 9, 5, 1], 0),
        ([1, 20, 1], 1),
        ([1, 20, 1, 20], 2),
        ([20, 19, 20, 19, 20], 0),
    ],
)
def test_reversals_are_changes_of_direction_by_a_good_part(values, count):
    assert module("scaling_plays").reversals(values) == count


# --- the aims ---


def outcome(**values):
    plays = module("scaling_plays")
    calm = plays.Outcome(
        wait99=0, response99=10, makespan=100, probe99=0, peak=0.5, over=0, kills=0, reversals=0, late=(),
        demand=0.5, most_running=5, laws=module("scaling_pools").Laws(),
    )  # fmt: skip
    return replace(calm, **values)


def case(load="ramp", first=None, again=None, others=None, **more):
    plays = module("scaling_plays")
    names = (*plays.FIXED, *plays.KNOW_ALL, plays.GO_TASKMAN)
    calm, first = outcome(), first or outcome()
    again = again or outcome()
    ours = plays.Ours(first, again, again, again, calm, calm)
    return module("scaling_aims").Case(
        load, {name: (others or {}).get(name, calm) for name in names}, replace(ours, **more)
    )


def missed(*cases):
    return {aim.name for aim in module("scaling_aims").judge(list(cases)) if aim.mark == "MISSED"}


def test_all_aims_are_met_by_plays_that_are_as_good_as_the_best():
    assert missed(case(), case("cpu_herd"), case("mem_herd")) == set()


def laws(**values):
    return replace(module("scaling_pools").Laws(), **values)


@pytest.mark.parametrize(
    ("load", "first", "name"),
    [
        ("ramp", {"response99": 13.2}, "near"),
        ("ramp", {"response99": 20.2}, "response"),
        ("cpu_herd", {"makespan": 106}, "makespan_plain"),
        ("ramp", {"makespan": 136}, "makespan"),
        ("ramp", {"late": ((2.5, 0.2),)}, "settled"),
        ("ramp", {"reversals": 2}, "reversals"),
        ("ramp", {"peak": 1.11}, "overshoot"),
        ("ramp", {"probe99": 0.11}, "probe"),
    ],
)
def test_a_figure_beyond_its_aim_is_missed(load, first, name):
    assert name in missed(case(load, outcome(**first)))
    assert missed(case(load)) == set()


def test_what_our_later_plays_do_counts_too():
    assert missed(case(again=outcome(kills=1))) == {"kills"}
    assert missed(case("mem_herd", again=outcome(makespan=106))) == {"makespan_plain"}
    assert missed(case(halved=outcome(response99=10.2))) == {"run_times"}
    assert missed(case(doubled=outcome(makespan=99.8))) == {"run_times"}


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        ({"below_running": 1}, "target_up"),
        ({"least_fall": 0.1}, "target_down"),
        ({"least_gap_s": 0.9}, "target_rows"),
    ],
)
def test_what_the_target_may_not_do_is_missed(broken, name):
    assert missed(case(first=outcome(laws=laws(**broken)))) == {name}


def test_slight_differences_count_for_nothing():
    others = dict.fromkeys(module("scaling_plays").KNOW_ALL, outcome(response99=0.01))
    assert missed(case(first=outcome(response99=0.1), others=others)) == set()
    assert "response" in missed(case(first=outcome(response99=0.2), others=others))


def test_a_load_that_overfills_the_cores_need_not_settle():
    busy = outcome(late=((20.0, 5.0),), demand=0.81)
    assert missed(case(first=busy)) == set()


def test_rules_that_let_commands_be_killed_are_no_match():
    others = dict.fromkeys(module("scaling_plays").KNOW_ALL, outcome(kills=1, response99=1))
    others["know-all 0"] = outcome(response99=9)
    others |= dict.fromkeys(module("scaling_plays").FIXED, outcome(kills=3, makespan=10))
    others["fixed 2"] = outcome(makespan=90)
    found = case(others=others)
    assert (found.know_all.response99, found.best_fixed.makespan) == (9, 90)


def test_the_target_is_watched_step_by_step_and_line_by_line():
    law = laws(lines=[])
    for target, running in [(4, 4), (9, 9), (9, 2), (6, 2), (6, 7)]:
        law.look(target, running)
    assert (law.below_running, round(law.least_fall, 3)) == (1, 0.333)
    for at_s, before, value in [(1, 0, 9), (2.5, 9, 8)]:
        law.line(at_s, before, value)
    assert (law.least_gap_s, round(law.least_fall, 3)) == (1.5, 0.111)


def test_the_tables_have_a_row_for_each_load_and_contestant():
    scaling, plays = module("scaling"), module("scaling_plays")
    cases = [case("ramp"), case("mem_herd", half_needs=outcome(peak=1.2, kills=2))]
    assert [row[0] for row in scaling.by_load(cases)] == ["load", "ramp", "mem_herd"]
    contestants = [row[0] for row in scaling.by_contestant(cases)]
    assert contestants == ["contestant", *plays.FIXED, plays.GO_TASKMAN, plays.OURS]
    assert scaling.by_needs(cases)[1:] == [
        ("ramp", "1.00", "50%", "0", "1.00", "50%", "0"),
        ("mem_herd", "1.00", "120%", "2", "1.00", "50%", "0"),
    ]
    aims = module("scaling_aims").judge([case(first=outcome(kills=0, probe99=0.5))])
    rows = {row[0]: row[1:] for row in scaling.by_aim(aims)}
    assert rows["s from a probe's slot to its start, p99"] == ("0.50", "<= 0.1", "MISSED", "ramp")


def test_percentiles_and_means():
    assert module("scaling_stage").percentile([], 0.99) == 0
    assert module("scaling_stage").percentile(range(100), 0.99) == 99
    assert module("scaling_aims").mean([0.5, 2.0]) == pytest.approx(1)
