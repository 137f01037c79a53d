"""Check of the executors of the running scheduler: each in a process of its own, all at the same time."""

from __future__ import annotations

import json
import marshal
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.cli.doctor.result import CheckResult, ok, warn, worst
from taskman_cli.core.executors import LOCAL, ExecutorDefinition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

#: How long each executor may take, and then to end what it has started; all checks together may take longer.
PATIENCE_S, CLOSE_S = 4.0, 1.5
_ARGV = (sys.executable, "-P", "-m", "taskman_cli.executors.checking")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an executor found out about itself: is it good, in words, and what to do; or why it did not."""

    findings: tuple[tuple[bool, str, str], ...] = ()
    trouble: str = ""


def look_at_executors(pid: int | None) -> dict[str, Answer]:
    """Have each executor of the taskman with this pid check itself, with its environment and directory."""
    if pid is None:
        return {}
    from taskman_cli.cli.support.running_options import job_file_of
    from taskman_cli.cli.support.start_context import of_scheduler
    from taskman_cli.core.sinks import secret_variables

    job_file, theirs = job_file_of(pid), of_scheduler(pid)
    remote = [one for one in job_file.settings.executors if one.type != LOCAL]
    return ask(remote, theirs.environ, theirs.cwd, secret_variables(job_file.sinks), patience_s=PATIENCE_S)


def ask(
    executors: Sequence[ExecutorDefinition],
    environ: Mapping[str, str],
    cwd: str,
    hidden: Collection[str],
    *,
    patience_s: float,
) -> dict[str, Answer]:
    """Ask all executors at the same time; after `patience_s`, those that have not answered are killed."""
    if not executors:
        return {}
    with ThreadPoolExecutor(len(executors)) as threads:
        asked = {
            one.name: threads.submit(_ask, one, environ, cwd, hidden, patience_s=patience_s)
            for one in executors
        }
        return {name: answer.result() for name, answer in asked.items()}


def _ask(
    one: ExecutorDefinition,
    environ: Mapping[str, str],
    cwd: str,
    hidden: Collection[str],
    *,
    patience_s: float,
) -> Answer:
    values = {name: getattr(one, name) for name in ExecutorDefinition.__slots__}
    request = marshal.dumps((values, sorted(hidden), patience_s))
    process = subprocess.Popen(
        _ARGV, env=environ, cwd=cwd, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        said, error = process.communicate(request, timeout=patience_s + CLOSE_S)
    except subprocess.TimeoutExpired:
        return Answer(trouble=f"no answer within {patience_s:g} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
    try:
        found: list[Any] = json.loads(said)
        return Answer(tuple((bool(good), str(words), str(advice)) for good, words, advice in found))
    except ValueError:
        last = error.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        return Answer(trouble=f"its check ended with {process.returncode}" + (f": {last}" if last else ""))


def judge_executors(answers: Mapping[str, Answer]) -> CheckResult:
    """Judge whether each executor can do its work."""
    found = []
    for name, answer in answers.items():
        if answer.trouble:
            found.append(warn(f"{name}: {answer.trouble}", f"see what executor {name} needs"))
        found += [
            ok(f"{name}: {words}")
            if is_good
            else warn(f"{name}: {words}", advice or f"see what executor {name} needs")
            for is_good, words, advice in answer.findings
        ]
        if not answer.trouble and not answer.findings:
            found.append(ok(f"{name}: nothing to check"))
    return worst(found, else_=ok("all jobs run here"))
