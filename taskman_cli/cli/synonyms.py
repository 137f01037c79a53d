"""What other programs call our commands and options: people bring their words along.

From systemctl, crontab, at, docker, kubectl, pm2, supervisorctl, pueue, dkron, airflow and make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import click

#: Of each command line, the words that it is called elsewhere.
_COMMANDS = {
    "list": "ls jobs dir get",
    "status": "ps top stat stats state info overview dashboard monitor ui",
    "list --once": "atq queue queued pending",
    "show JOB": "cat describe inspect view print definition",
    "remove JOB": "rm del delete drop unschedule uninstall atrm",
    "cancel JOB": "kill abort terminate end stop-job interrupt term",
    "--help": "help usage man commands",
    "--version": "version ver",
    "resume JOB": "enable unpause continue unhold release unsuspend activate cont thaw",
    "pause JOB": "disable hold suspend freeze deactivate snooze",
    "check FILE": "validate lint verify configtest config-test syntax parse",
    "log JOB": "logs output stdout print-log journalctl",
    "log -f JOB": "tail follow attach logs-f",
    "events -f": "watch stream subscribe",
    "events": "journal audit",
    "history": "runs last results executions ran",
    "run FILE": "serve up daemon daemonize scheduler worker server beat boot launch",
    "stop": "quit exit shutdown down halt poweroff",
    "trigger JOB": "exec execute fire kick invoke rerun retry replay force run-now runnow now call",
    "once 'COMMAND'": "at batch submit enqueue later defer shell",
    "add NAME 'COMMAND'": "new create schedule define register put install",
    "next FILE": "upcoming preview dry-run dryrun when forecast",
    "explain EXPR": "translate humanize decode",
    "import FILE": "convert migrate crontab",
    "restore JOB": "undo undelete unremove recover",
    "reload": "refresh reread update hup apply sync",
    "doctor": "diagnose diag health healthcheck ping troubleshoot",
    "init": "example sample template setup quickstart",
    "completion": "completions autocomplete complete",
    "test JOB": "try debug",
}
_SEVERAL = {
    "start": ("run FILE", "trigger JOB"),
}
_BY_WORD = _SEVERAL | {word: (ours,) for ours, words in _COMMANDS.items() for word in words.split()}

#: Of each option, the words that it is called elsewhere. Which of them a command has is its own.
_OPTIONS = {
    "--json": "--format --output -o -j --fmt --as-json",
    "--timezone": "--tz --zone --time-zone -z",
    "--count": "--limit --lines --max --number --num --tail --head -c -l",
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
    "--log-level": "--verbose --debug --loglevel --verbosity -v",
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
#: What no option is for.
_NOTES = {
    **dict.fromkeys(
        ("--daemon", "--background", "--detach", "-d", "--daemonize", "--fork"),
        "run stays in the foreground: a unit of systemd, tmux or & puts it elsewhere",
    ),
    **dict.fromkeys(
        ("--foreground", "--no-daemon", "--nodaemon"),
        "run stays in the foreground by itself",
    ),
    **dict.fromkeys(
        ("--config", "--conf", "-c", "--file", "-f", "--jobs"), "job files are named without an option"
    ),
    **dict.fromkeys(("--yes", "-y", "--assume-yes"), "nothing is asked before it is done"),
    **dict.fromkeys(("--version", "-V"), "it is `taskman --version`"),
    **dict.fromkeys(("--dry-run", "--dryrun", "--check", "--test"), "`taskman check` only reads job files"),
    **dict.fromkeys(
        ("--no-color", "--no-colour", "--color", "--colour"), "the variable NO_COLOR takes colour away"
    ),
    **dict.fromkeys(("--verbose", "-v", "--debug"), "there is no more to be told"),
}


def no_command(name: str, known: Collection[str]) -> str:
    """Say that there is no such command, and which is meant if that is likely."""
    from taskman_cli.jobfile.problems import did_you_mean, quoted

    meant = _BY_WORD.get(name.lower().replace("_", "-"), ())
    hint = f" (did you mean {' or '.join(map(quoted, meant))}?)" if meant else did_you_mean(name, known)
    return f"there is no command {quoted(name)}{hint}"


def no_option(name: str, command: click.Command) -> str:
    """Say that a command has no such option, and which is meant if that is likely."""
    from taskman_cli.jobfile.problems import did_you_mean, quoted

    known = [spelling for item in command.params for spelling in (*item.opts, *item.secondary_opts)]
    known = [spelling for spelling in (*known, "--help") if spelling.startswith("-")]
    words = f"{command.name} has no option {quoted(name)}"
    for ours, theirs in _OPTIONS.items():
        if ours in known and name.lower() in theirs.split():
            return f"{words} (did you mean {quoted(ours)}?)"
    if hint := did_you_mean(name, [spelling for spelling in known if spelling.startswith("--")]):
        return words + hint
    return f"{words}: {_NOTES[name]}" if name in _NOTES else words


def mistaken_dash(arguments: Iterable[str]) -> str:
    """Return a line about the first word that would be an option, had it a hyphen; or nothing."""
    from taskman_cli.core.lookalikes import find_dash

    for word in arguments:
        if found := find_dash(word):
            return f"\n{word} begins with {found.name} and is no option: {found.mend}"
    return ""
