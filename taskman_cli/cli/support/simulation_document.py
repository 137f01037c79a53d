"""What a simulation found, as the JSON document of `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.schedule import CronSchedule, load_zone
from taskman_cli.core.schedule.changes import changes_between
from taskman_cli.simulate.tally import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from taskman_cli.cli.support.simulated import Simulation, Variant
    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.simulate.player import Played
    from taskman_cli.simulate.sketch import Sketch

MODEL = "a model of a machine, on which nothing was executed"


def document_of(simulation: Simulation, played: Sequence[Played], zone: tzinfo) -> dict[str, Any]:
    """Return the document; times are in `zone`."""
    hardware, until_ns = simulation.hardware, simulation.from_ns + simulation.length_ns
    return {
        "model": MODEL,
        "from": _time(simulation.from_ns, zone),
        "until": _time(until_ns, zone),
        "seed": simulation.seed,
        "machine": {"cores": hardware.cores, "memory_bytes": hardware.memory_bytes},
        "run_times": [
            {
                "job": job,
                "task": task,
                "basis": habit.basis.value,
                "attempts": len(habit.acts) if habit.basis.value == "history" else None,
                "median_s": _seconds(habit.median_ns),
            }
            for (job, task), habit in _all_habits(simulation).items()
        ],
        "clock_changes": [
            {
                "timezone": name,
                "at": _time(change.at_ns, load_zone(name)),
                "shift_s": change.shift_ns // SECOND_NS,
                "jobs": jobs,
            }
            for name, change, jobs in changes_of(simulation)
        ],
        "simulations": [
            _simulation(variant, one, zone) for variant, one in zip(simulation.variants, played, strict=True)
        ],
    }


def changes_of(simulation: Simulation) -> list[tuple[str, Change, list[str]]]:
    """Return the clock changes in the window: zone, change, and the jobs with cron expressions in it."""
    zones: dict[str, list[str]] = {}
    for variant in simulation.variants:
        zones.setdefault(variant.job_file.timezone, [])
        for job in variant.jobs:
            name = job.schedule.timezone if isinstance(job.schedule, CronSchedule) else None
            if name and job.enabled and job.id not in zones.setdefault(name, []):
                zones[name].append(job.id)
    until_ns = simulation.from_ns + simulation.length_ns
    return [
        (name, change, jobs)
        for name, jobs in zones.items()
        for change in changes_between(simulation.from_ns, until_ns, name)
    ]


def _all_habits(simulation: Simulation) -> dict[tuple[str, str], Any]:
    return {owner: habit for habits in simulation.habits for owner, habit in habits.of.items()}


def _simulation(variant: Variant, played: Played, zone: tzinfo) -> dict[str, Any]:
    tally, settings = played.tally, played.scenario.settings
    missed, worst = tally.first_missed, tally.worst
    return {
        "files": list(variant.files),
        "workers": settings.max_workers,
        "admission": settings.admission.value,
        "seats": played.seats,
        "jobs": len(variant.jobs),
        "starts": tally.attempts + tally.running,
        "runs": dict(sorted(tally.states.items())),
        "unfinished": tally.unfinished,
        "retries": tally.retries,
        "killed_for_memory": tally.memory_kills,
        "skips": dict(sorted(tally.skips.items())),
        "uncounted_skips": tally.uncounted,
        "wait_s": {
            **_quantiles(tally.waits),
            "job": worst and worst[0],
            "due": worst and _time(worst[1], zone),
        },
        "done_s": _quantiles(tally.done),
        "waited_for_s": {what: _seconds(ns) for what, ns in sorted(tally.waited_for.items())},
        "waits": [
            {
                "job": name,
                "starts": one.waits.count,
                **_quantiles(one.waits),
                "due": None if one.worst_due_ns is None else _time(one.worst_due_ns, zone),
            }
            for name, one in waiting_jobs(played)
        ],
        "busiest_minutes": [
            {
                "at": _time(minute.at_ns, zone),
                "starts": minute.starts,
                "running": minute.peak,
                "worst_wait_s": _seconds(minute.worst_ns),
            }
            for minute in tally.busiest
        ],
        "running": {"mean": round(mean_running(played), 3), "peak": tally.peak},
        "pool_by_part_of_day": [
            {"mean": round(mean, 3), "peak": peak} if passed else None
            for mean, peak, passed in parts_of_day(played)
        ],
        "cores_busy": round(played.cores_busy, 4),
        "memory_peak_bytes": played.memory_peak_bytes,
        "slowdown": round(played.slowdown, 3),
        "first_deadline_missed": missed
        and {
            "job": missed.job,
            "slot": _time(missed.slot_ns, zone),
            "at": _time(missed.at_ns, zone),
            "detail": missed.detail,
        },
        "parked": [{"job": name, "at": _time(at_ns, zone)} for name, at_ns in tally.parked.items()],
    }


def waiting_jobs(played: Played) -> list[tuple[str, Any]]:
    """Return the jobs that had to wait, the longest wait first."""
    jobs = [(name, one) for name, one in played.tally.jobs.items() if one.waits.worst_ns]
    return sorted(jobs, key=lambda item: (-item[1].waits.worst_ns, item[0]))


def mean_running(played: Played) -> float:
    """Return how many attempts ran at a time, on average."""
    return played.tally.running_ns / max(played.scenario.length_ns, 1)


def parts_of_day(played: Played) -> Iterable[tuple[float, int, int]]:
    """Yield (mean of what ran, most that ran, time that the window has of it) for each part of the day."""
    tally = played.tally
    for part in range(PARTS):
        passed_ns = tally.passed_ns[part]
        mean = tally.parts_ns[part] / passed_ns if passed_ns else 0.0
        yield mean, tally.peaks[part], passed_ns


def cron_schedules(simulation: Simulation) -> list[tuple[str, CronSchedule]]:
    """Return the schedules of enabled jobs that are cron expressions, each with the name of its job once."""
    found = (
        (job.id, job.schedule)
        for variant in simulation.variants
        for job in variant.jobs
        if job.enabled and isinstance(job.schedule, CronSchedule)
    )
    return list(dict.fromkeys(found))


def _quantiles(sketch: Sketch) -> dict[str, float]:
    return {
        "p50": _seconds(sketch.quantile(0.5)),
        "p95": _seconds(sketch.quantile(0.95)),
        "worst": _seconds(sketch.worst_ns),
    }


def _seconds(ns: int) -> float:
    return round(ns / SECOND_NS, 3)


def _time(at_ns: int, zone: tzinfo) -> str:
    return wall_time(at_ns, zone).isoformat()
