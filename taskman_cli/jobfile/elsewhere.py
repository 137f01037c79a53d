"""What other schedulers call the keys of a job: people bring their words along.

From systemd.timer(5), systemd.exec(5), Kubernetes' CronJob, APScheduler, yacron, ofelia, jobber and dagu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.jobfile.problems import did_you_mean, quoted

if TYPE_CHECKING:
    from collections.abc import Collection

#: Without capitals, hyphens and underscores.
WORDS = {
    "cron": "schedule crontab cronexpression oncalendar",
    "every": "interval period frequency onunitactivesec",
    "at": "when date rundate",
    "command": "cmd script run exec execstart",
    "env": "environment environ envvars",
    "env_file": "environmentfile dotenv",
    "cwd": "workingdirectory workingdir workdir directory dir chdir",
    "user": "username runas",
    "retry": "retries maxretries retrypolicy restart",
    "overlap": "concurrency concurrencypolicy nooverlap",
    "max_running": "maxinstances maxconcurrent",
    "start_deadline": "startingdeadlineseconds startingdeadline misfiregracetime",
    "on_missed": "persistent catchup catchupwindow coalesce misfirepolicy",
    "timeout": "executiontimeout activedeadlineseconds runtimemaxsec",
    "kill_timeout": "killafter timeoutstopsec",
    "jitter": "randomizeddelaysec randomdelay splay",
    "timezone": "tz",
    "enabled": "disabled suspend",
    "description": "comment desc",
    "tags": "labels",
    "tasks": "steps",
}
_OURS = {word: ours for ours, words in WORDS.items() for word in words.split()}


def unknown_key(name: str, known: Collection[str]) -> str:
    """Say that there is no such key, and which is meant if that is likely."""
    ours = _OURS.get(name.lower().replace("-", "").replace("_", ""))
    hint = f" (did you mean {quoted(ours)}?)" if ours and ours in known else did_you_mean(name, known)
    return f"unknown key{hint}"
