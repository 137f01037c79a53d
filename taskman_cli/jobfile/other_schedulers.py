"""What other schedulers call the keys and values of a job, to suggest ours.

From systemd.timer(5), systemd.exec(5), Kubernetes' CronJob, GitHub Actions, APScheduler, Celery, Airflow,
yacron, ofelia, jobber, dkron, dagu, rundeck and node-cron.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: In lower case, without hyphens and underscores.
WORDS = {
    "cron": "schedule crontab cronexpression cronexpr cronschedule expression spec oncalendar",
    "every": "interval period frequency repeat repeatinterval runevery onunitactivesec",
    "at": "when date rundate runat datetime",
    "command": "cmd script run exec execstart executable program shellcommand action entrypoint bash",
    "env": "environment environ envvars variables vars",
    "env_file": "environmentfile dotenv",
    "cwd": "workingdirectory workingdir workdir directory dir chdir pwd folder",
    "user": "username runas runasuser owner",
    "limits": "memorymax memorylimit cpuquota tasksmax limitnofile limitcore ulimit ulimits rlimits",
    "retry": "retries maxretries retrypolicy restart attempts maxattempts backofflimit",
    "overlap": "concurrency concurrencypolicy allowoverlap overlappolicy",
    "max_running": "maxinstances maxconcurrent concurrencylimit parallelism maxparallel",
    "start_deadline": "startingdeadlineseconds startingdeadline misfiregracetime",
    "on_missed": "persistent catchup catchupwindow coalesce misfirepolicy misfire anacron runmissed",
    "run_on_start": "onbootsec onstartupsec runonstartup runatload runimmediately runonboot startup",
    "starts_at": "startdate starttime start starton notbefore validfrom",
    "expires_at": "enddate endtime end expires notafter validuntil until",
    "timeout": "executiontimeout activedeadlineseconds runtimemaxsec timelimit maxruntime",
    "kill_timeout": "killafter timeoutstopsec graceperiod stopgraceperiod",
    "kill_signal": "stopsignal signal",
    "success_exit_codes": "successexitstatus exitcodes expectedexitcodes okcodes successcodes",
    "output": "stdout stderr log logfile standardoutput standarderror capturestdout capturestderr",
    "max_output": "maxlogsize logsize maxoutputsize",
    "keep_runs": "successfuljobshistorylimit failedjobshistorylimit historylimit maxhistory",
    "keep_for": "ttlsecondsafterfinished retention retentiondays",
    "stdin": "standardinput input",
    "jitter": "randomizeddelaysec randomdelay splay variance",
    "timezone": "tz zone location timezonename",
    "enabled": "active",
    "mode": "execution executionmode order",
    "max_runs": "maxexecutions repeatcount runs",
    "description": "comment desc title summary",
    "tags": "labels categories",
    "tasks": "steps commands",
    "include": "includes import imports",
    "max_workers": "workers concurrency maxconcurrency poolsize threads maxthreads processes",
    "taskman": "settings scheduler global general config options daemon server",
    "pool": "workers executor concurrency",
    "defaults": "default common base jobdefaults",
    "jobs": "job cron crontab schedules entries task",
    "max": "count attempts times retries limit",
    "delay": "interval wait backoffbase initialdelay",
    "max_delay": "maxinterval maxbackoff maximumdelay",
    "backoff": "multiplier factor backoffmultiplier",
    "exit_codes": "codes exitcode onexitcodes retryon",
    "after": (
        "dependson depends dependencies dependency requires needs wants upstream parents parent prerequisites"
        " runafter waitfor triggeredby"
    ),
    "sinks": (
        "mailto mail email notify notification notifications webhook alert alerts onsuccess onfailure onerror"
    ),
}
#: What to do instead of keys that do not exist.
_NOTES = {
    "after": 'jobs cannot wait for other jobs: make the steps tasks of one job with mode = "sequence"',
    "disabled": "write enabled = false",
    "overlap": 'write overlap = "skip"',
    "name": "the job's name goes into its heading: [jobs.NAME]",
    "args": 'arguments are part of command: ["program", "argument"]',
    "container": "commands run on this machine: use docker run or podman run in the command",
}
_SAID = {
    "after": "after",
    "disabled": "disabled suspend suspended paused inactive",
    "overlap": "nooverlap preventoverlap singleton unique exclusive",
    "name": "name id jobname jobid",
    "args": "args arguments argv parameters",
    "container": "image container dockerimage",
}
_OURS: dict[str, list[str]] = {}
for _ours, _words in WORDS.items():
    for _word in _words.split():
        _OURS.setdefault(_word, []).append(_ours)
_NOTED = {word: note for note, words in _SAID.items() for word in words.split()}

#: By enum: the values that other schedulers use.
VALUES = {
    "Overlap": {
        "skip": "forbid forbidden deny drop ignore no none never false discard singleton",
        "queue": "wait enqueue serial serialize defer",
        "allow": "yes true always parallel concurrent multiple",
        "replace": "kill restart cancel terminate",
    },
    "OnMissed": {
        "skip": "ignore never no none drop forget donothing false",
        "once": "catchup yes true coalesce latest last run one fireonce fireonceandproceed",
        "all": "every each backfill ignoremisfires",
    },
    "OnCrash": {"report": "nothing ignore fail lost none", "rerun": "restart retry again run repeat"},
    "Mode": {
        "parallel": "concurrent together simultaneous async",
        "sequence": "serial sequential seq series ordered chain sync",
    },
    "Output": {
        "capture": "file log save keep record store",
        "inherit": "stdout terminal pass console print journal",
        "discard": "none null devnull /dev/null quiet silent drop no false off",
    },
    "EveryFrom": {"slot": "start begin schedule", "finish": "end completion done delay"},
    "Durability": {"process": "normal fast no", "power": "full sync fsync disk"},
}


def meant(name: str, known: Collection[str]) -> str | None:
    """Return the key that an unknown one stands for; None if that is unclear."""
    return next((ours for ours in _OURS.get(_folded(name), ()) if ours in known), None) or nearest(
        name, known
    )


def unknown_key(name: str, known: Collection[str]) -> str:
    """Say that a key is unknown, and which one was probably meant."""
    folded = _folded(name)
    theirs = _OURS.get(folded, [])
    ours = next((ours for ours in theirs if ours in known), None)
    if ours is not None:
        return f"unknown key (did you mean {quoted(ours)}?)"
    # `args` and the like are hints for a job's table only, and `name` for none.
    note = _NOTED.get(folded) or next((ours for ours in theirs if ours in _NOTES), None)
    if note is not None and "command" in known:
        return f"unknown key: {_NOTES[note]}"
    return f"unknown key{did_you_mean(name, known)}"


def keys_meant(names: Iterable[str], known: Collection[str]) -> set[str]:
    """Return the keys that the unknown ones of a table stand for.

    A key that is missing only because it is mistyped is not reported twice.
    """
    return {ours for name in names if name not in known and (ours := meant(name, known))}


def value_hint(kind: str, value: str, known: Collection[str]) -> str:
    """Suggest the value of an enum that was probably meant, or return ""."""
    folded = _folded(value)
    for ours, words in VALUES.get(kind, {}).items():
        if folded in words.split():
            return f" (did you mean {quoted(ours)}?)"
    return did_you_mean(value, known)


def _folded(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")
