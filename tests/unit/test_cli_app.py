"""The command group and `main`: what is listed, what is refused, and which exit code comes of it."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import click
import pytest

from taskman_cli import __version__
from taskman_cli.__main__ import main
from taskman_cli.cli.app import COMMANDS, app
from taskman_cli.cli.options.command import ALIASES
from taskman_cli.errors import ScheduleError, TaskmanError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def context() -> click.Context:
    return click.Context(app, info_name="taskman")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let the command `check` end with a given exception."""

    def install(error: BaseException) -> None:
        @click.command("check")
        def command() -> None:
            raise error

        monkeypatch.setattr(app, "get_command", lambda _ctx, _name: command)

    return install


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_the_first_of_the_commands_own(name: str, context: click.Context) -> None:
    command = app.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help is not None
    assert COMMANDS[name][2] == command.help.splitlines()[0]


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    lines = [line.split(maxsplit=1) for line in re.sub(r", (?:ls|ps|logs|rm|kill)\b", "", out).splitlines()]
    assert [[name, summary] for name, (_, _, summary) in COMMANDS.items()] == [
        line for line in lines if line and line[0] in COMMANDS
    ]


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"taskman {__version__}\n"


def test_without_a_command_a_short_screen_says_where_to_begin_and_the_code_is_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    begin = [line.split()[1] for line in lines if line.startswith("  taskman ")]
    assert (out, begin) == ("", ["init", "check", "run", "status", "why"])
    assert (len(lines) <= 12, max(map(len, lines)) < 80) == (True, True)
    assert "`taskman help` lists all commands" in err


@pytest.mark.parametrize("alias", ALIASES)
def test_a_short_name_is_its_command_and_stands_in_both_helps(
    alias: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ALIASES[alias]
    assert alias not in COMMANDS
    assert main([alias, "--help"]) == 0
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"Usage: taskman {name} ")
    assert f"  Short: taskman {alias}\n" in help_text
    assert main(["--help"]) == 0
    assert f"  {name}, {alias} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "same"),
    [
        pytest.param(["help"], ["--help"], id="all commands"),
        pytest.param(["help", "run"], ["run", "--help"], id="one command"),
        pytest.param(["help", "rm"], ["remove", "--help"], id="a short name"),
    ],
)
def test_help_is_the_same_as_the_option(
    words: list[str], same: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [main(words), main(same)] == [0, 0]
    both = capsys.readouterr().out
    assert both[: len(both) // 2] == both[len(both) // 2 :]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["chek"], ['there is no command "chek" (did you mean "check"?)'], id="a typing error"),
        pytest.param(["dir"], ['no command "dir" (did you mean "list"?)'], id="dir"),
        pytest.param(["TOP"], ['no command "TOP" (did you mean "status"?)'], id="capitals"),
        pytest.param(["del", "x"], ['no command "del" (did you mean "remove JOB"?)'], id="del"),
        pytest.param(["kill", "-9"], ['cancel has no option "-9" (did you mean "--now"?)'], id="kill"),
        pytest.param(["man"], ['no command "man" (did you mean "help"?)'], id="man"),
        pytest.param(["help", "rnu"], ['no command "rnu" (did you mean "run"?)'], id="help"),
        pytest.param(["enable"], ['no command "enable" (did you mean "resume JOB"?)'], id="enable"),
        pytest.param(["disable"], ['no command "disable" (did you mean "pause JOB"?)'], id="disable"),
        pytest.param(["validate"], ['no command "validate" (did you mean "check FILE"?)'], id="validate"),
        pytest.param(["unpause"], ['no command "unpause" (did you mean "resume JOB"?)'], id="unpause"),
        pytest.param(["output"], ['no command "output" (did you mean "log JOB"?)'], id="output"),
        pytest.param(["tail"], ['no command "tail" (did you mean "log -f JOB"?)'], id="tail"),
        pytest.param(["start"], ['(did you mean "run FILE" or "trigger JOB"?)'], id="start"),
        pytest.param(["exec"], ['no command "exec" (did you mean "trigger JOB"?)'], id="exec"),
        pytest.param(["run_now"], ['no command "run_now" (did you mean "trigger JOB"?)'], id="underscore"),
        pytest.param(["tip"], ['no command "tip"\n'], id="near is not near enough in three letters"),
        pytest.param(
            ["next", "--tz", "UTC"], ['next has no option "--tz" (did you mean "--timezone"?)'], id="tz"
        ),
        pytest.param(["next", "--timezon=UTC"], ['"--timezon" (did you mean "--timezone"?)'], id="typo"),
        pytest.param(["history", "--limit", "3"], ['(did you mean "--count"?)'], id="limit"),
        pytest.param(["history", "--format=json"], ['(did you mean "--json"?)'], id="format"),
        pytest.param(["stop", "--force"], ['(did you mean "--now"?)'], id="force"),
        pytest.param(["run", "--daemon"], ['no option "--daemon": run stays in the foreground'], id="daemon"),
        pytest.param(["import", "-o", "x"], ['no option "-o": it prints: add >FILE'], id="output of import"),
        pytest.param(
            ["init", "-o", "x"], ['no option "-o": give the file as an argument'], id="output of init"
        ),
        pytest.param(
            ["run", "-c", "x"], ['"-c": give job files as arguments, without an option'], id="config"
        ),
        pytest.param(["list", "--xyzzy"], ['list has no option "--xyzzy"\n'], id="no such option"),
        pytest.param(["-v"], ['taskman: taskman has no option "-v"'], id="of no command"),
        pytest.param(
            ["once", "ls", "-la"], ['once has no option "-l"; put a command that has options'], id="once"
        ),
        pytest.param(
            ["edit", "x"], ['no command "edit": jobs are defined in job files: edit them'], id="edit"
        ),
        pytest.param(["-l"], ['"-l": `taskman list` shows the jobs'], id="crontab -l"),
        pytest.param(["-e"], ['"-e": jobs are defined in job files'], id="crontab -e"),
        pytest.param(["prune"], ['no command "prune": old records are removed automatically'], id="prune"),
        pytest.param(["daemon-reload"], ['(did you mean "reload"?)'], id="daemon-reload"),
        pytest.param(["is-active"], ['(did you mean "status"?)'], id="is-active"),
        pytest.param(["failures"], ['(did you mean "history --state failed"?)'], id="failures"),
        pytest.param(["history", "--failed"], ['(did you mean "--state failed"?)'], id="failed"),
        pytest.param(["history", "--running"], ['(did you mean "--state running"?)'], id="running"),
        pytest.param(["history", "--all"], ['(did you mean "--count 0"?)'], id="all"),
        pytest.param(["list", "--failed"], ['list has no option "--failed"\n'], id="no such state there"),
        pytest.param(["list", "--paused"], ['(did you mean "--state paused"?)'], id="paused"),
        pytest.param(["history", "--job", "x"], ['"--job": give the job as an argument'], id="job"),
        pytest.param(["log", "-u", "x"], ['"-u": give the job as an argument, without an option'], id="unit"),
        pytest.param(["history", "--grep", "x"], ['"--grep": pipe the output to grep'], id="grep"),
        pytest.param(["add", "--retries", "3"], ['"--retries": this is a key of the job'], id="retries"),
        pytest.param(["add", "--failed"], ['add has no option "--failed"'], id="no near option"),
        pytest.param(["run", "--log", "x"], ['"--log": the log goes to standard error'], id="log file"),
        pytest.param(["frobnicate"], ['there is no command "frobnicate"\n'], id="no near command"),
        pytest.param(["--", "nxt"], ['there is no command "nxt" (did you mean "next"?)'], id="after --"),
        pytest.param(["--frobnicate"], ["--frobnicate"], id="an option of the group"),
        pytest.param(
            ["-i", "night", "status"],
            ['taskman has no option "-i": options come after the command, as in `taskman status --json`'],
            id="an option before its command",
        ),
        pytest.param(["check"], ["FILE"], id="a missing argument"),
        pytest.param(["next", "--jsn", "--cron", "@daily"], ["--jsn"], id="an option of a command"),
        pytest.param(["run", "--log-level", "loud", "x.toml"], ["loud", "debug"], id="a choice"),
        pytest.param(
            ["history", "--state", "suceeded"],
            ['taskman: --state: "suceeded" is not one of queued, ', '(did you mean "succeeded"?)'],
            id="a near choice",
        ),
        pytest.param(["completion", "tcsh"], ['taskman: "tcsh" is not one of bash, zsh, fish'], id="a word"),
        pytest.param(["next", "-n", "x"], ['taskman: --count: "x" is not a whole number'], id="a number"),
        pytest.param(
            ["history", "--since", "last week"],
            ['taskman: --since: "last" is not a known word for a time; write the date\n  last week\n'],
            id="a time",
        ),
        pytest.param(["run", "--for", "5 parsecs", "x.toml"], ["--for"], id="a duration"),
    ],
)
def test_wrong_usage_says_what_is_wrong_on_standard_error_and_exits_2(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("taskman: ")
    assert err.splitlines()[-1].startswith("Try 'taskman")
    assert [word for word in words if word not in err] == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(TaskmanError("no such luck"), 1, "taskman: no such luck\n", id="an error"),
        pytest.param(
            ScheduleError("makes no sense"), 2, "taskman: makes no sense\n", id="an error with its own code"
        ),
        pytest.param(KeyboardInterrupt(), 130, "", id="Ctrl-C"),
        pytest.param(click.Abort(), 130, "", id="Ctrl-C at a prompt"),
        pytest.param(click.exceptions.Exit(7), 7, "", id="a code of the command's"),
    ],
)
def test_what_ends_a_command_becomes_a_line_and_an_exit_code(
    error: BaseException,
    code: int,
    said: str,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert main(["check"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    "bug", [ValueError("a bug"), OSError(errno.EBADF, "a bug")], ids=["ValueError", "OSError"]
)
def test_a_bug_keeps_its_traceback(bug: Exception, failing: Callable[[BaseException], None]) -> None:
    failing(bug)
    with pytest.raises(type(bug), match="a bug"):
        main(["check"])


def test_what_is_suggested_is_a_command_or_an_option_that_there_is(context: click.Context) -> None:
    from taskman_cli.cli import synonyms

    words = [word for words in synonyms._COMMANDS.values() for word in words.split()]
    assert {word for word in words if words.count(word) > 1 or word in COMMANDS} == set()
    assert set(words) & set(synonyms._NO_COMMANDS) == set()
    assert set(synonyms._NO_COMMANDS) & set(COMMANDS) == set()
    for usage in [*synonyms._COMMANDS, *(usage for usages in synonyms._SEVERAL.values() for usage in usages)]:
        main_word, *rest = usage.split()
        if main_word.startswith("--"):
            continue
        command = app.get_command(context, main_word)
        assert command is not None, usage
        spellings = {spelling for item in command.params for spelling in item.opts}
        assert {word for word in rest if word.startswith("-")} <= spellings, usage
    commands = [app.get_command(context, name) for name in COMMANDS]
    known = {spelling for command in commands if command for item in command.params for spelling in item.opts}
    assert set(synonyms._OPTIONS) <= known
    for usage in synonyms._WITH_VALUES:
        assert any(command and synonyms._takes(command, usage) for command in commands), usage


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["list", "\u2013tag", "2h"],
            "\u2013tag begins with en dash (U+2013) and not with a hyphen: write -",
        ),
        (["list", "\u2014json"], "\u2014json begins with em dash (U+2014) and not with a hyphen: write -"),
    ],
)
def test_an_option_with_a_long_dash_is_named(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert line == capsys.readouterr().err.splitlines()[-1]


def test_a_file_that_could_not_be_used_is_named(
    failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(OSError(errno.EIO, "Input/output error", "x.db"))
    assert main(["check"]) == 1
    assert capsys.readouterr().err == "taskman: x.db: Input/output error\n"
