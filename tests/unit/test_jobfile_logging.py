"""`[logging]` of the job file, and what is wrong with a configuration of the user's own."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from taskman_cli.core.logsettings import LogFormat, LogLevel, LogPart, LogSettings
from taskman_cli.jobfile import JobFileError
from taskman_cli.jobfile.load import loads
from taskman_cli.jobfile.logconfig import config_faults, config_text
from taskman_cli.jobfile.problems import dotted

DOCS = Path(__file__).parents[2] / "docs"


def settings(text: str) -> LogSettings:
    return loads(text).logging


def complaints(text: str) -> list[str]:
    with pytest.raises(JobFileError) as caught:
        loads(text)
    return [
        f"{problem.line}:{problem.column}: {problem.key}: {problem.message}"
        for problem in caught.value.problems
    ]


def test_a_file_without_the_table_leaves_all_as_usual() -> None:
    assert settings("") == LogSettings(LogFormat.AUTO, None, (), None)


def test_format_level_and_levels_of_parts() -> None:
    text = '[logging]\nformat = "json"\nlevel = "info"\nlevels = { supervisor = "debug", ledger = "error" }\n'
    assert settings(text) == LogSettings(
        LogFormat.JSON,
        LogLevel.INFO,
        ((LogPart.LEDGER, LogLevel.ERROR), (LogPart.SUPERVISOR, LogLevel.DEBUG)),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'format = "jsn"',
            '2:10: logging.format: "jsn" is not one of auto, text, json, journald (did you mean "json"?)',
        ),
        (
            "level = 3",
            "2:9: logging.level: expected one of debug, info, notice, warning, error, critical, got a number",
        ),
        (
            'levels = { run = "info" }',
            '2:12: logging.levels.run: there is no part "run" (did you mean "runs"?): the parts are '
            "scheduler, runs, jobs, ledger, control, supervisor, sinks, metrics",
        ),
        (
            'levels = { runs = "loud" }',
            '2:19: logging.levels.runs: "loud" is not one of debug, info, notice, warning, error, critical',
        ),
        (
            'levels = "debug"',
            '2:10: logging.levels: expected a table, got a string: write it as in { supervisor = "debug" }',
        ),
        (
            'config = "logging.ini"',
            "2:10: logging.config: not a TOML file: write what logging.config.dictConfig takes as TOML, "
            "in a file named *.toml",
        ),
        ('colour = "red"', "2:1: logging.colour: unknown key"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(text: str, complaint: str) -> None:
    assert complaints(f"[logging]\n{text}\n") == [complaint]


# --- a configuration of the user's own ---

GOOD = """
[handlers.h]
class = "logging.StreamHandler"
[root]
handlers = ["h"]
"""


def faults(text: str) -> list[str]:
    return [f"{dotted(fault.path)}: {fault.message}" for fault in config_faults(tomllib.loads(text))]


def test_a_good_configuration_has_no_faults_and_gets_what_is_usual() -> None:
    assert faults(GOOD) == []
    config = json.loads(config_text(tomllib.loads(GOOD.replace("[root]", '[root]\nlevel = "notice"'))))
    assert (config["version"], config["disable_existing_loggers"]) == (1, False)
    assert config["root"] == {"level": "NOTICE", "handlers": ["h"]}


def test_the_example_of_the_documentation_is_good() -> None:
    page = (DOCS / "logs.md").read_text("utf-8")
    text = page.partition("## A configuration of your own")[2].split("```text\n")[1].partition("```")[0]
    assert faults(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version = 2" + GOOD, ["version: there is only version 1"]),
        (
            "incremental = true" + GOOD,
            ["incremental: not supported: there is no earlier configuration to change"],
        ),
        ("handler = 1" + GOOD, ['handler: unknown key (did you mean "handlers"?)']),
        (
            "disable_existing_loggers = true" + GOOD,
            ["disable_existing_loggers: must be false: the loggers of taskman exist already"],
        ),
        ("formatters = 1" + GOOD, ["formatters: expected tables: write [formatters.NAME] above its keys"]),
        ("formatters.a = 1" + GOOD, ["formatters.a: expected a table: write [formatters.a] above its keys"]),
        ("", [": no logger has handlers, so nothing would be logged: set root.handlers"]),
        ("root = 1", [
            "root: expected a table: write [root] above its keys",
            "root: no logger has handlers, so nothing would be logged: set root.handlers",
        ]),
        (
            GOOD.replace('["h"]', '["g"]'),
            ['root.handlers[0]: there is no handler "g" in this file'],
        ),
        (GOOD.replace('["h"]', '"h"'), ["root.handlers: expected an array of names"]),
        (
            GOOD.replace("class", "klass"),
            ['handlers.h: has no class: add one, as in class = "logging.FileHandler"'],
        ),
        (
            GOOD.replace("StreamHandler", "StreamHandle"),
            [
                'handlers.h.class: there is no "logging.StreamHandle" in the standard library '
                '(did you mean "StreamHandler"?)'
            ],
        ),
        (
            GOOD.replace("logging.Stream", "no_such_module.Stream"),
            ['handlers.h.class: there is no module "no_such_module" here: install it'],
        ),
        (
            GOOD.replace("logging.StreamHandler", "StreamHandler"),
            ["handlers.h.class: expected a class with its module, as in logging.FileHandler"],
        ),
        (
            GOOD.replace("[root]", 'level = "laut"\n[root]'),
            ['handlers.h.level: "laut" is not one of debug, info, notice, warning, error, critical'],
        ),
        (GOOD + "level = 1.5", ["root.level: expected the name of a level, or its number"]),
        (GOOD + "handler = 1", ['root.handler: unknown key (did you mean "handlers"?)']),
        (
            GOOD.replace("[root]", 'formatter = "f"\n[root]'),
            ['handlers.h.formatter: there is no formatter "f" in this file'],
        ),
        (
            GOOD.replace("[root]", 'filters = ["f"]\n[root]'),
            ['handlers.h.filters[0]: there is no filter "f" in this file'],
        ),
        (
            GOOD.replace("[root]", "x = [2026-01-01]\n[root]"),
            ["handlers.h.x[0]: a date or time is no value of a logging configuration: put it in quotes"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration_is_told(text: str, expected: list[str]) -> None:
    assert faults(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("logging.StreamHandler", "ext://sys.stdout"),
        GOOD.replace("[root]", 'level = "WARN"\n[root]'),
        GOOD + "level = 15",
        '[handlers.h]\n"()" = "json.JSONEncoder"\n[loggers.taskman]\nhandlers = ["h"]',
    ],
)
def test_what_dictconfig_takes_is_taken(text: str) -> None:
    assert faults(text) == []
