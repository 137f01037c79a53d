"""How a scheduler begins: with its jobs, and with the runs that an earlier one left unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.reports import AGAIN
from taskman_cli.scheduler.followup import counted, warn_of_idlers
from taskman_cli.scheduler.handover import left_running, open_runs
from taskman_cli.scheduler.logs.loggers import job_log, notice, run_log
from taskman_cli.scheduler.poison import SUSPECT
from taskman_cli.scheduler.recorder import tell_unreadable

if TYPE_CHECKING:
    from taskman_cli.core.model import Job
    from taskman_cli.ledger.ledger import Ledger
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.heard import Hello
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.scheduler.workers import Workers

#: Kept for the next scheduler, as a value of the supervisor: what this life has counted so far.
COUNTS = "counts"


#: Kept for the next scheduler: what tells the ledger that this one writes to from all others.
LEDGER = "ledger"
#: Kept for the next scheduler: which ledger was lost, as a row for `status`.
LOST = "ledger_lost"
#: Kept for the next scheduler by one that leaves because it was told to.
LEAVING = "leaving"
#: What the supervisor keeps of a scheduler that hung.
HUNG = "hung"


def take_over(
    driver: EngineDriver,
    workers: Workers,
    outputs: Outputs,
    jobs: tuple[Job, ...],
    hello: Hello,
    *,
    boot: str,
    sources: tuple[str, ...],
) -> None:
    """Bring the engine its jobs and all open runs; `boot` names this boot of the machine."""
    engine, ledger, poison, now = driver.engine, driver.ledger, driver.poison, driver.now
    standing = ledger.standing
    is_same_boot, is_new_life = _compare(ledger, hello, boot)
    workers.configure(engine.settings)
    engine.metrics.resume(hello.kept.get(COUNTS) or {}, ledger.recent)
    engine.metrics.tallies.resume(ledger.successes)
    engine.failing.resume(ledger.failing)
    notice(job_log, f"{counted(len(jobs), 'job')} from {', '.join(sources)}", event="scheduler_started")
    _watch_ledger(driver, workers, hello)
    if words := hello.kept.get(HUNG):
        driver.note(effects.SchedulerNoted("scheduler_hung", f"the last scheduler {words}"))
        workers.keep(HUNG, None)
    if engine.reports.sinks:
        driver.note(engine.reports.taken())
        if words := how_it_died(driver, hello, is_new_life=is_new_life):
            driver.note(effects.SchedulerNoted("scheduler_died", words))
    elif ledger.has_sinks:
        driver.note(engine.reports.taken())
    driver.note(effects.SchedulerNoted("scheduler_started", "" if is_new_life else AGAIN))
    tell_unreadable(ledger, driver.note)
    if hello.kept.get(LEAVING):
        workers.keep(LEAVING, None)
    step_ns = engine.settings.clock_step_ns
    runs, done = open_runs(
        ledger.open_runs,
        hello,
        is_same_boot=is_same_boot,
        is_ledger_new=ledger.is_new,
        find=lambda whose: workers.find_orphans(whose, jobs),
        over=ledger.over_runs,
        now=now,
    )
    left = left_running(hello, ledger.over_runs)
    paused = poison.leave(left)
    if done:
        workers.forget(done)
    if runs:
        notice(run_log, f"taking over {counted(len(runs), 'run')}")
    for what, error in hello.unreadable:
        driver.set_aside(f"what the supervisor knows of {what}", error)
    poison.suspect(hello.kept.get(SUSPECT), now.wall_ns)
    workers.keep(SUSPECT, poison.suspected)
    without = poison.take_out(runs, jobs, ledger.jobs)
    driver.give(
        events.JobsLoaded(
            without.jobs,
            ledger.jobs,
            standing.accounted_ns,
            driver.clocks.step_since(standing.offset_ns, step_ns=step_ns) if is_same_boot else 0,
            standing.last_run,
            without.runs,
            boot,
            hello.started_ns,
            is_new_boot=not is_same_boot,
            is_new_life=is_new_life,
            decided=ledger.decided,
            hidden=tuple(ledger.hidden.values()),
            set_aside=without.paused | paused | ledger.paused_for(jobs),
            needs=ledger.needs,
            series=ledger.series,
            identity=standing.identity,
            has_early=hello.has_early,
            rates={
                name: full.elapsed_ns if is_same_boot else now.elapsed_ns + full.wall_ns - now.wall_ns
                for name, full in ledger.rates.items()
            },
        )
    )
    for key, _, job, _ in left:
        if job in paused:
            workers.abandon(key)
    jobs_of_runs = {run.job for run in runs}
    outputs.sweep(ledger.known_jobs | engine.timetable.jobs.keys() | jobs_of_runs)
    if is_new_life:
        warn_of_idlers(engine)


def _watch_ledger(driver: EngineDriver, workers: Workers, hello: Hello) -> None:
    """Tell of a ledger that was lost, now or later, and have the next scheduler know of it."""
    recorder, lost = driver.recorder, hello.kept.get(LOST)
    if isinstance(lost, dict) and {"at_ns", "what", "why", "times"} <= lost.keys():
        recorder.lost = lost

    def renewed() -> None:
        workers.keep(LEDGER, driver.ledger.standing.identity)
        if recorder.lost is not None:
            workers.keep(LOST, recorder.lost)

    recorder.note_lost(driver.now)
    recorder.renewed = renewed
    renewed()


def _compare(ledger: Ledger, hello: Hello, boot: str) -> tuple[bool, bool]:
    """Tell whether the last scheduler was of this boot of the machine, and whether of another supervisor."""
    standing = ledger.standing
    if ledger.is_new and hello.kept.get(LEDGER, standing.identity) != standing.identity:
        # It was, and its ledger was lost: what this supervisor has begun with does not begin again.
        return True, False
    return standing.boot == boot, standing.supervisor != hello.started_ns


def how_it_died(driver: EngineDriver, hello: Hello, *, is_new_life: bool) -> str:
    """Say how the last scheduler ended without being told to; "": it was told to, or there was none."""
    if is_new_life:
        return "" if driver.ledger.was_stopped else "taskman ended without being stopped"
    if words := hello.kept.get(HUNG):
        return f"it {words}, and was replaced"
    return "" if hello.kept.get(LEAVING) else "it ended, and was started again"
