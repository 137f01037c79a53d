"""Names of commands and options in other programs, for suggestions.

From systemctl, crontab, at, docker, kubectl, pm2, supervisorctl, pueue, dkron, airflow and make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import click

#: For each command line, its names in other programs.
_COMMANDS = {
    "list": "jobs dir get list-jobs list-timers list-units timers timetable tasks is-enabled",
    "status": "top stat stats state info overview dashboard monitor ui is-active is-failed",
    "list --once": "atq queue queued pending",
    "show JOB": "cat describe inspect view print definition show-job job task plan",
    "remove JOB": "del delete drop unschedule uninstall atrm delete-job",
    "cancel JOB": "abort terminate end stop-job interrupt term signal",
    "help": "usage man commands",
    "--version": "version ver",
    "resume JOB": "enable unpause continue unhold release unsuspend activate cont thaw unmask unpark",
    "pause JOB": "disable hold suspend freeze deactivate snooze mask park stash",
    "check FILE": "validate lint verify configtest config-test syntax parse validate-config check-config",
    "log JOB": "output stdout print-log journalctl",
    "log -f JOB": "tail follow attach logs-f logs-follow",
    "events -f": "watch stream subscribe",
    "events": "journal audit",
    "history": "runs last results executions ran report timeline",
    "history --state failed": "failures failed errors history-failed",
    "history --state succeeded": "successes succeeded",
    "history --state skipped": "missed skipped",
    "why JOB": "reason explain-why why-not whynot",
    "run FILE": "serve up daemon daemonize scheduler worker server beat boot launch",
    "stop": "quit exit shutdown down halt poweroff stop-all kill-all",
    "stop --drain": "drain",
    "trigger JOB": "exec execute fire kick invoke rerun retry replay force run-now runnow now call "
    "start-job runjob kickoff kick-off restart-job",
    "once 'COMMAND'": "at batch submit enqueue later defer shell",
    "add NAME 'COMMAND'": "new create schedule define register put install add-job",
    "next FILE": "upcoming preview dry-run dryrun when forecast calendar agenda",
    "explain EXPR": "translate humanize decode",
    "import FILE": "convert migrate crontab load load-file import-crontab",
    "export --crontab FILE": "export-crontab crontab-export",
    "restore JOB": "undo undelete unremove recover",
    "reload": "refresh reread update hup apply sync daemon-reload",
    "status --check": "health healthcheck healthy liveness readiness",
    "doctor": "diagnose diag ping troubleshoot selftest doctor-check",
    "backup FILE": "dump save archive snapshot backup-db",
    "salvage FILE": "repair fix fsck",
    "wait JOB": "wait-for await join",
    "init": "example sample template setup quickstart",
    "completion": "completions autocomplete complete",
    "unit FILE": "service install-service systemd generate-unit autostart",
    "test JOB": "try debug test-run test-job run-job",
}
_SEVERAL = {
    "start": ("run FILE", "trigger JOB"),
}
#: Things for which there is no command, and what to do instead.
_NEEDLESS = {
    "edit edit-job modify change update-job rename mv move copy clone duplicate vi vim nano visudo": (
        "jobs are defined in job files: edit them, then run `taskman reload`"
    ),
    "env config configure conf settings set": (
        "settings are in the job file, under [taskman], [pool] and [defaults]"
    ),
    "clean cleanup purge prune gc vacuum clear rotate compact trim": (
        "old records are removed automatically: see keep_runs, keep_for and keep_events"
    ),
    "workers pool concurrency parallel scale limit": (
        "max_workers under [pool] limits how many commands run at once"
    ),
}
_NO_COMMANDS = {word: why for words, why in _NEEDLESS.items() for word in words.split()}
#: Options of crontab(1), and our commands for them.
_OF_CRONTAB = {
    "-l": "`taskman list` shows the jobs",
    "-r": "`taskman remove JOB`",
    "-e": _NO_COMMANDS["edit"],
}
_BY_WORD = _SEVERAL | {word: (ours,) for ours, words in _COMMANDS.items() for word in words.split()}

#: For each option, its names in other programs. Not every command has every option.
_OPTIONS = {
    "--json": "--format --output -o -j --fmt --as-json --csv --yaml --xml",
    "--timezone": "--tz --zone --time-zone -z",
    "--count": "--limit --lines --max --number --num --tail --head -c -l --last",
    "--follow": "--tail --watch -w -F",
    "--since": "--after --from --start --start-time --begin --newer-than",
    "--from": "--since --after --start",
    "--state-dir": "--state --dir --directory --data-dir --home -d",
    "--state": "--status --filter --result",
    "--instance": "--name -n --id",
    "--cwd": "--dir --directory --chdir --workdir --working-directory --workingdirectory -C -D",
    "--env": "--environment --set --var -e -E",
    "--at": "--time --when --on --date -t",
    "--in": "--delay --after --wait-for",
    "--cron": "--schedule --expression --expr --spec -s",
    "--every": "--interval --period",
    "--for": "--duration --until --timeout",
    "--reason": "--message --comment -m",
    "--signal": "--sig -s --kill",
    "--now": "--force --kill --immediate --immediately -9 -f",
    "--drain": "--graceful --grace --gracefully",
    "--wait": "--block --sync --follow -w",
    "--no-wait": "--async --detach",
    "--no-live": "--no-ui --plain --quiet -q --no-tui",
    "--log-level": "--debug --loglevel --verbosity",
    "--log-format": "--json --log-json --format --logfmt --log-output",
    "--verbose": "-vv --more",
    "--until-idle": "--once --exit-when-done",
    "--timeout": "--for --max-time -t",
    "--quiet": "--silent -q -s",
    "--strict": "--werror --warnings-as-errors --pedantic",
    "--instead": "--replace --skip-next",
    "--force": "-f --ignore-overlap",
    "--skip-bad": "--keep-going --ignore-errors --lenient -k",
    "--job": "--name --task -j",
    "--cancel": "--kill --stop --force -f",
    "--tag": "--label --group -l",
    "--name": "--id --title -n",
    "--file": "--output -o -f",
}
#: The same for options with a value.
_WITH_VALUES = {
    "--state failed": "--failed --failures --failure --failing --only-failed --errors --error --fail",
    "--state succeeded": "--succeeded --success --successful --ok",
    "--state running": "--running --active",
    "--state queued": "--queued --pending --waiting",
    "--state waiting": "--waiting",
    "--state skipped": "--skipped --missed",
    "--state paused": "--paused --disabled",
    "--count 0": "--all -a --no-limit",
}
#: Options for the job; our commands take the job as an argument.
_JOB_OPTIONS = frozenset({"--job", "--job-name", "--task", "--unit", "-u", "-j"})
#: Things for which there is no option, and what to do instead.
_NOTES = {
    **dict.fromkeys(("--no-pager", "--pager"), "taskman uses no pager"),
    **dict.fromkeys(("--grep", "-g", "--search"), "pipe the output to grep"),
    **dict.fromkeys(("--sort", "--reverse", "-r", "--desc", "--asc"), "pipe the output to sort or tac"),
    **dict.fromkeys(
        (
            "--retry",
            "--retries",
            "--max-retries",
            "--overlap",
            "--overlapping",
            "--priority",
            "--shell",
            "--user",
            "--umask",
            "--nice",
            "--on-failure",
            "--restart",
            "--catch-up",
        ),
        "this is a key of the job in its job file: `taskman schema` lists all keys",
    ),
    **dict.fromkeys(
        ("--workers", "--max-workers", "--concurrency", "--parallel", "--max-jobs"),
        "max_workers under [pool] in the job file limits how many commands run at once",
    ),
    **dict.fromkeys(
        ("--log-file", "--logfile", "--log", "--syslog"), "the log goes to standard error: add 2>FILE"
    ),
    **dict.fromkeys(
        ("--pidfile", "--pid-file", "--pid"), "`taskman run` does not fork: its pid stays the same"
    ),
    **dict.fromkeys(("--inotify", "--autoreload"), "set `watch = true` under [taskman] in the job file"),
    "--timestamps": "captured output has no timestamps",
    **dict.fromkeys(
        ("--daemon", "--background", "--detach", "-d", "--daemonize", "--fork"),
        "run stays in the foreground: use a systemd unit, tmux or &",
    ),
    **dict.fromkeys(
        ("--foreground", "--no-daemon", "--nodaemon"),
        "run always stays in the foreground",
    ),
    **dict.fromkeys(
        ("--config", "--conf", "-c", "--file", "-f", "--jobs"),
        "give job files as arguments, without an option",
    ),
    **dict.fromkeys(("--yes", "-y", "--assume-yes"), "there is no confirmation prompt"),
    **dict.fromkeys(("--version", "-V"), "use `taskman --version`"),
    **dict.fromkeys(
        ("--dry-run", "--dryrun", "--check", "--test"), "use `taskman check`, which only reads job files"
    ),
    **dict.fromkeys(
        ("--no-color", "--no-colour", "--color", "--colour"), "set the environment variable NO_COLOR"
    ),
    **dict.fromkeys(("--verbose", "-v", "--debug"), "there is no more detailed output"),
}


#: Commands that write a document to standard output, and the options for that in other programs.
_WRITERS = frozenset({"import", "export", "schema", "completion", "init"})
_TO_FILE = frozenset({"-o", "--output", "--out", "--file", "-w", "--write"})


def no_command(name: str, known: Collection[str]) -> str:
    """Return the error for an unknown command, with a suggestion if there is a likely one."""
    from taskman_cli.core.escapes import quoted
    from taskman_cli.core.nearest import did_you_mean

    word = name.lower().replace("_", "-")
    if word in _NO_COMMANDS:
        return f"there is no command {quoted(name)}: {_NO_COMMANDS[word]}"
    meant = _BY_WORD.get(word, ())
    hint = f" (did you mean {' or '.join(map(quoted, meant))}?)" if meant else did_you_mean(name, known)
    return f"there is no command {quoted(name)}{hint}"


def no_option(name: str, command: click.Command) -> str:
    """Return the error for an unknown option, with a suggestion if there is a likely one."""
    from taskman_cli.core.escapes import quoted
    from taskman_cli.core.nearest import did_you_mean

    known = [spelling for item in command.params for spelling in (*item.opts, *item.secondary_opts)]
    known = [spelling for spelling in (*known, "--help") if spelling.startswith("-")]
    words = f"{command.name} has no option {quoted(name)}"
    if name in _TO_FILE and command.name in _WRITERS:
        to = "give the file as an argument" if command.name == "init" else "it prints: add >FILE"
        return f"{words}: {to}"
    for ours, theirs in _OPTIONS.items():
        if ours in known and name.lower() in theirs.split():
            return f"{words} (did you mean {quoted(ours)}?)"
    for ours, theirs in _WITH_VALUES.items():
        if name.lower() in theirs.split() and _takes(command, ours):
            return f"{words} (did you mean {quoted(ours)}?)"
    if name in _JOB_OPTIONS and any("JOB" in (item.metavar or "") for item in _arguments(command)):
        return f"{words}: give the job as an argument, without an option"
    if name in _OF_CRONTAB and hasattr(command, "commands"):
        return f"{words}: {_OF_CRONTAB[name]}"
    if name in _NOTES:
        return f"{words}: {_NOTES[name]}"
    if hint := did_you_mean(name, [spelling for spelling in known if spelling.startswith("--")]):
        return words + hint
    if hasattr(command, "commands"):
        return f"{words}: options come after the command, as in `taskman status --json`"
    return words


def _arguments(command: click.Command) -> list[click.Argument]:
    import click

    return [item for item in command.params if isinstance(item, click.Argument)]


def _takes(command: click.Command, usage: str) -> bool:
    """Tell whether a command has an option that accepts a value; `usage` is both."""
    option, value = usage.split()
    for item in command.params:
        if option in item.opts:
            choices = getattr(item.type, "choices", None)
            return choices is None or value in choices
    return False


def mistaken_dash(arguments: Iterable[str]) -> str:
    """Return a line about the first word that begins with a dash instead of a hyphen; or nothing."""
    from taskman_cli.core.lookalikes import find_dash

    for word in arguments:
        if found := find_dash(word):
            return f"\n{word} begins with {found.name} and not with a hyphen: {found.fix}"
    return ""
