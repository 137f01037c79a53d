"""Kubernetes' CronJobs as jobs: the commands of their containers, run on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.core.schedule import ScheduleError, load_zone
from taskman_cli.jobfile.crontab.names import unique
from taskman_cli.jobfile.foreign.expressions import CannotSay, Days, schedule_of
from taskman_cli.jobfile.foreign.imported import Imported, job_name
from taskman_cli.jobfile.foreign.imported import Table as Job
from taskman_cli.jobfile.foreign.spans import duration
from taskman_cli.jobfile.foreign.yamlkeys import Keys
from taskman_cli.jobfile.foreign.yamltext import NotYaml, Table, Text, Value, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WAYS = (
    "As in Kubernetes: a failed run is tried again, and a run that was missed runs later, once, within its",
    "deadline. The commands run on this machine, without the images of their containers.",
)
_OVERLAPS = {"Allow": "allow", "Forbid": "skip", "Replace": "replace"}
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What a CronJob without these has.
_BACKOFF_LIMIT = 6
_GRACE_S = 30.0
#: Keys of a container or pod that do not matter to the command.
_QUIET_KEYS = (
    "name image imagePullPolicy imagePullSecrets restartPolicy terminationMessagePath"
    " terminationMessagePolicy dnsPolicy schedulerName enableServiceLinks automountServiceAccountToken"
    " containers"
)
_QUIET = frozenset(_QUIET_KEYS.split())


def from_kubernetes(data: bytes, *, path: str, taken: dict[str, int]) -> Imported:
    """Convert the CronJobs of a manifest; other objects in it are noted."""
    imported = Imported(path, data.decode("utf-8", "replace"), ways=_WAYS)
    try:
        documents = read_documents(data)
    except NotYaml as error:
        imported.problem(error.line, error.message)
        return imported
    for item in _objects(documents):
        kind = Keys(item, imported, "").text("kind")
        if kind == "CronJob":
            _read_cronjob(item, imported, taken)
        elif item is not None:
            imported.note(getattr(item, "line", 1), f"{kind or 'an object'} is no CronJob: left out")
    if not imported.jobs and not imported.problems:
        imported.problem(0, "there is no CronJob in it")
    return imported


def _objects(documents: list[Value]) -> Iterator[Value]:
    for document in documents:
        items = document.get("items") if isinstance(document, Table) else None
        kind = document.get("kind") if isinstance(document, Table) else None
        if isinstance(items, list) and str(kind).endswith("List"):
            yield from items
        else:
            yield document


def _read_cronjob(item: Value, imported: Imported, taken: dict[str, int]) -> None:
    top = Keys(item, imported, "")
    metadata = top.under("metadata")
    title = metadata.text("name") or metadata.text("generateName").rstrip("-") or "cronjob"
    spec = Keys(top.get("spec"), imported, f"{title}: spec.")
    job = spec.under("jobTemplate").under("spec")
    pod = job.under("template").under("spec")
    notes: list[str] = []
    text = spec.text("schedule")
    try:
        schedule = schedule_of(text, days=Days.EITHER)
    except CannotSay as error:
        imported.problem(spec.line_of("schedule"), f"{title}: the schedule {quoted(text)}: {error}")
        return
    tasks = _tasks(pod, notes, title, imported)
    if tasks is None:
        return
    table: Job = {
        "description": _description(metadata),
        **schedule,
        **tasks,
        "enabled": False if spec.flag("suspend") else None,
        "overlap": _OVERLAPS.get(spec.text("concurrencyPolicy") or "Allow", "allow"),
        "on_missed": "once",
        "start_deadline": _seconds(spec.number("startingDeadlineSeconds")) or "none",
        "timeout": _seconds(job.number("activeDeadlineSeconds")) or "none",
        "kill_timeout": duration(
            _GRACE_S if (grace := pod.number("terminationGracePeriodSeconds")) is None else grace
        ),
        "retry": _retry(job),
    }
    if "cron" in schedule:
        table["timezone"] = _zone(spec, schedule, notes)
    many = [key for key in ("completions", "parallelism") if (job.whole(key) or 1) > 1]
    if many:
        notes.append(f"{', '.join(many)}: one command a run here")
    left = [key for key in pod.unread() if key not in _QUIET]
    if left:
        notes.append(f"of the pod, these are left out: {', '.join(left)}")
    name = unique(job_name(title), taken)
    imported.add(name, top.line, table)
    for words in notes:
        imported.note(top.line, words, job=name)


def _zone(spec: Keys, schedule: Job, notes: list[str]) -> str:
    zone = spec.text("timeZone") or schedule.get("timezone", "")
    if not zone:
        notes.append("no timeZone: the cluster's, which is mostly UTC, is written here")
        return "UTC"
    try:
        load_zone(zone)
    except ScheduleError as error:
        notes.append(f"timeZone: {error}: UTC is written here")
        return "UTC"
    return zone


def _description(metadata: Keys) -> str:
    annotations = metadata.get("annotations")
    return str(annotations.get("description") or "") if isinstance(annotations, Table) else ""


def _seconds(number: float | None) -> str:
    return duration(number) if number else ""


def _retry(job: Keys) -> Job | None:
    limit = job.whole("backoffLimit")
    times = _BACKOFF_LIMIT if limit is None else limit
    return {"max": min(times, 1000), "delay": "10s", "backoff": 2, "max_delay": "6m"} if times else None


def _tasks(pod: Keys, notes: list[str], title: str, imported: Imported) -> Job | None:
    """Return the keys of the commands; None: there is none, which is said."""
    containers = [("initContainers", item) for item in pod.items("initContainers")]
    inits = len(containers)
    containers += [("containers", item) for item in pod.items("containers")]
    found: dict[str, Job] = {}
    for at, (where, item) in enumerate(containers):
        keys = Keys(item, imported, f"{title}: {where}.")
        label = keys.text("name") or f"container-{at + 1}"
        command = [*keys.words("command"), *keys.words("args")]
        image = keys.text("image")
        if not keys.words("command") and not image:
            imported.problem(keys.line, f"{title}: container {label}: it has neither a command nor an image")
            return None
        env = dict(_environment(keys, notes, label))
        directory = keys.text("workingDir")
        if keys.words("command"):
            notes.append(f"container {label}: the command runs here, not in the image {quoted(image)}")
        else:
            notes.append(f"container {label}: it has no command, so its image is run with docker")
            command, directory = [*_docker(image, env, directory), *command], ""
        name = unique(job_name(label), dict.fromkeys(found, 1))
        found[name] = {
            "command": [_expanded(word, env) for word in command],
            "cwd": directory,
            "env": env,
        }
        left = [key for key in keys.unread() if key not in _QUIET]
        if left:
            notes.append(f"container {label}: left out: {', '.join(left)}")
    if not found:
        imported.problem(pod.line, f"{title}: there is no container with a command")
        return None
    tables = {name: {key: value for key, value in task.items() if value} for name, task in found.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    if inits and len(containers) - inits > 1:
        notes.append("the containers run one after the other here")
    return {"tasks": tables, "mode": "sequence" if inits else "parallel"}


def _docker(image: str, env: Iterable[str], directory: str) -> list[str]:
    """Return the words that run an image; the values of its variables are those of the job, out of sight."""
    options = [word for name in env for word in ("--env", name)]
    options += ["--workdir", directory] if directory else []
    return ["docker", "run", "--rm", *options, image]


def _environment(keys: Keys, notes: list[str], label: str) -> Iterator[tuple[str, str]]:
    known: dict[str, str] = {}
    missing = []
    for item in keys.items("env"):
        name = item.get("name") if isinstance(item, Table) else None
        if not isinstance(name, Text) or not isinstance(item, Table):
            continue
        value = item.get("value")
        if "valueFrom" in item or not _ENV_NAME.fullmatch(name):
            missing.append(str(name))
            continue
        known[str(name)] = _expanded("" if value is None else str(value), known)
        yield str(name), known[str(name)]
    if missing:
        notes.append(f"container {label}: these variables have no value here: {', '.join(missing)}")
    if keys.items("envFrom"):
        notes.append(f"container {label}: the variables of envFrom are not known here")


def _expanded(text: str, env: dict[str, str]) -> str:
    """Replace `$(NAME)`, as Kubernetes does before a command starts."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)
