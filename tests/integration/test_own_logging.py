"""A configuration of the user's own: read, checked, applied, changed and refused; and who may write it."""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from taskman_cli.core.logsettings import LogConfig, LogFormat, LogLevel, LogPart, LogSettings
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.jobfile.fingerprint import file_at
from taskman_cli.scheduler.logs import log as module
from taskman_cli.scheduler.logs import loggers
from taskman_cli.scheduler.logs.log import Log
from taskman_cli.scheduler.logs.loggers import NOTICE, ROOT, logger, logger_of, run_log, tell
from taskman_cli.scheduler.options import Options
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
[formatters.f]
format = "%(levelname)s %(name)s %(message)s"
[handlers.h]
class = "logging.FileHandler"
filename = "FILE"
formatter = "f"
[root]
level = "LEVEL"
handlers = ["h"]
"""


def write(directory: Path, text: str = CONFIG, *, level: str = "info", file: str = "out") -> Path:
    """Write a job file and its configuration; return the job file."""
    jobs = directory / "jobs.toml"
    jobs.write_text('[logging]\nconfig = "logging.toml"\n')
    text = text.replace("FILE", str(directory / file)).replace("LEVEL", level)
    (directory / "logging.toml").write_text(text)
    return jobs


def read(jobs: Path) -> LogSettings:
    return load([jobs], timezone="UTC").logging


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """A log as the scheduler has it; afterwards all is as before."""
    monkeypatch.setattr(logging.root, "handlers", [])
    log = Log(Options((), ""), lambda: 0.0)
    yield log
    log.close()
    loggers.skip_what_no_line_shows(is_skipped=False)
    for one in (ROOT, *map(logger_of, LogPart)):
        one.setLevel(logging.NOTSET)
    logging.raiseExceptions = True


def begin(log: Log, settings: LogSettings, **options: Any) -> None:
    from datetime import UTC

    log.begin(settings, UTC, **{"is_first": True} | options)


def test_it_takes_over_whole(tmp_path: Path, log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    begin(log, read(write(tmp_path)))
    tell(run_log, logging.INFO, "a: succeeded", {"job": "a"})
    logger.debug("not this")
    logger.warning("this")
    log.close()
    assert (
        tmp_path / "out"
    ).read_text() == "INFO taskman.runs a: succeeded\nWARNING taskman.scheduler this\n"
    assert capfd.readouterr() == ("", "")


def test_nothing_of_a_job_reaches_it_unescaped(tmp_path: Path, log: Log) -> None:
    text = CONFIG.replace("%(message)s", "%(message)s %(job)s %(detail)s")
    begin(log, read(write(tmp_path, text, level="error")))
    tell(run_log, logging.ERROR, "a\x1b[2J\nforged", {"job": "a\x9b", "detail": "b\udce9"})
    try:
        raise ValueError("c\x1b[2J")
    except ValueError:
        logger.exception("%s", "d\x1b", extra={"job": "", "detail": ""})
    log.close()
    found = (tmp_path / "out").read_text()
    assert found.splitlines()[0] == r"ERROR taskman.runs a\x1b[2J\nforged a\x9b b\xe9"
    assert "\x1b" not in found
    assert found.endswith(r"ValueError: c\x1b[2J" + "\n")


def test_our_own_formatters_can_be_used(tmp_path: Path, log: Log) -> None:
    ours = 'json = 1\n[formatters.f]\n"()" = "taskman_cli.scheduler.logs.forms.JsonFormatter"\n'
    text = CONFIG.replace('[formatters.f]\nformat = "%(levelname)s %(name)s %(message)s"\n', ours)
    begin(log, read(write(tmp_path, text.replace("json = 1\n", ""))))
    tell(run_log, logging.INFO, "a: succeeded", {"job": "a", "attempt": 1})
    log.close()
    found = json.loads((tmp_path / "out").read_text())
    assert (found["part"], found["job"], found["attempt"]) == ("runs", "a", 1)


def test_a_reload_changes_it_and_nothing_is_lost(tmp_path: Path, log: Log) -> None:
    begin(log, read(write(tmp_path)))
    logger.info("one")
    settings = read(write(tmp_path, level="notice", file="other"))
    log.prepare(settings)
    logger.info("two")
    log.take(settings)
    logger.info("no more")
    logger.log(NOTICE, "three")
    log.close()
    path = tmp_path / "logging.toml"
    assert (tmp_path / "out").read_text() == "INFO taskman.scheduler one\nINFO taskman.scheduler two\n"
    assert (tmp_path / "other").read_text() == (
        f"NOTICE taskman.scheduler the log has changed: {path}\nNOTICE taskman.scheduler three\n"
    )


def test_a_reload_leaves_it_for_ours_and_comes_back(
    tmp_path: Path, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    own = read(write(tmp_path))
    begin(log, own)
    for settings in (LogSettings(LogFormat.JSON, LogLevel.ERROR), own):
        log.prepare(settings)
        log.take(settings)
        logger.error("x")
    log.close()
    assert [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()] == ["x"]
    assert (tmp_path / "out").read_text().splitlines()[1] == "ERROR taskman.scheduler x"


def test_a_reload_with_one_that_cannot_be_applied_changes_nothing(tmp_path: Path, log: Log) -> None:
    begin(log, read(write(tmp_path)))
    settings = read(write(tmp_path, level="error", file="no/such/directory/out"))
    with pytest.raises(TaskmanError) as caught:
        log.prepare(settings)
    assert caught.value.render() == (
        f"{tmp_path}/logging.toml:4: handlers.h: no such file or directory: {tmp_path}/no/such/directory/out"
    )
    logger.info("still here")
    log.close()
    assert (tmp_path / "out").read_text() == "INFO taskman.scheduler still here\n"


def test_at_the_first_start_one_that_cannot_be_applied_is_an_error(tmp_path: Path, log: Log) -> None:
    with pytest.raises(TaskmanError) as caught:
        begin(log, read(write(tmp_path, file="no/out")))
    assert caught.value.exit_code == 2


def test_a_later_scheduler_goes_on_without_it(
    tmp_path: Path, log: Log, capfd: pytest.CaptureFixture[str]
) -> None:
    begin(log, read(write(tmp_path, file="no/out")), is_first=False)
    log.close()
    assert "[logging] config is left aside: " in capfd.readouterr().err


def test_a_file_that_does_not_answer_is_an_error_and_not_a_wait_for_ever(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAKE_S", 0.3)
    os.mkfifo(tmp_path / "out")
    with pytest.raises(
        TaskmanError, match=r"a file or an address that it names does not answer within 0.3 s"
    ):
        begin(log, read(write(tmp_path)))
    # Let the thread go on: it waits for a reader.
    os.close(os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK))


def test_a_class_of_the_users_that_raises_is_an_ordinary_error(tmp_path: Path, log: Log) -> None:
    text = CONFIG.replace("logging.FileHandler", "logging.handlers.SocketHandler")
    with pytest.raises(TaskmanError, match=r"logging.toml:4: handlers.h: .*filename"):
        begin(log, read(write(tmp_path, text)))


def test_the_command_line_wins_over_it(tmp_path: Path, capfd: pytest.CaptureFixture[str], log: Log) -> None:
    log._options = Options((), "", log_format="text", level="info")
    begin(log, read(write(tmp_path)))
    logger.info("x")
    log.close()
    assert not (tmp_path / "out").exists()
    assert capfd.readouterr().err.endswith(" info    x\n")


def test_the_level_of_the_command_line_wins_over_its_levels(tmp_path: Path, log: Log) -> None:
    log._options = Options((), "", level="error")
    begin(log, read(write(tmp_path)))
    logger.info("x")
    logger.error("y")
    log.close()
    assert (tmp_path / "out").read_text() == "ERROR taskman.scheduler y\n"


class Stuck(logging.Handler):
    """A handler that takes its time."""

    gate = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.gate.wait(30)


def own(log: Log, handler: str, **options: object) -> None:
    text = json.dumps(
        {
            "version": 1,
            "handlers": {"h": {"()": f"ext://{__name__}.{handler}"} | options},
            "root": {"handlers": ["h"]},
        }
    )
    begin(log, LogSettings(config=LogConfig("logging.toml", text)))


def test_a_handler_that_hangs_holds_nobody_up(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _module())
    own(log, "Stuck")
    for _ in range(20_000):
        logger.warning("x")
    dropped = log.dropped
    assert dropped > 1_000  # a busy machine stops us long enough for the thread to take some
    assert log.high_water == 10_000
    log.take(LogSettings())  # another handler goes on counting
    assert log.dropped == dropped
    Stuck.gate.set()


def _module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__["Stuck"] = Stuck
    module.__dict__["Failing"] = Failing
    return module


class Failing(logging.Handler):
    """A handler that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("boom\x1b[2J")


def test_a_handler_that_fails_is_told_once(
    log: Log, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _module())
    own(log, "Failing")
    for _ in range(3):
        logger.warning("x")
    log.close()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.partition(" error ")[2].strip() == r'the log handler "h" fails: RuntimeError: boom\x1b[2J'


# --- reading it ---


def test_what_is_wrong_is_told_with_file_line_and_column(tmp_path: Path) -> None:
    jobs = write(tmp_path, CONFIG.replace('["h"]', '["g"]'))
    with pytest.raises(JobFileError) as caught:
        load([jobs], timezone="UTC")
    (problem,) = caught.value.problems
    assert problem.headline() == (
        f'{tmp_path}/logging.toml:10:13: root.handlers[0]: there is no handler "g" in this file'
    )


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"x = ", "logging.toml:1:4: a value is missing"),
        (b"x = '\xff'", "logging.toml:1:6: byte 0xff is not UTF-8: save the file as UTF-8"),
        (
            None,
            "jobs.toml:2:10: logging.config: DIR/logging.toml cannot be read: no such file or directory",
        ),
        ("directory", "jobs.toml:2:10: logging.config: DIR/logging.toml is a directory"),
    ],
    ids=["no TOML", "no UTF-8", "missing", "a directory"],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, data: bytes | str | None, complaint: str) -> None:
    jobs, path = write(tmp_path), tmp_path / "logging.toml"
    path.unlink()
    if data == "directory":
        path.mkdir()
    elif isinstance(data, bytes):
        path.write_bytes(data)
    with pytest.raises(JobFileError) as caught:
        load([jobs], timezone="UTC")
    (problem,) = caught.value.problems
    assert problem.headline() == f"{tmp_path}/{complaint.replace('DIR', str(tmp_path))}"


def test_a_change_of_the_file_is_a_change_of_the_job_files(tmp_path: Path) -> None:
    jobs = write(tmp_path)
    seen = load([jobs], timezone="UTC").seen
    assert file_at(tmp_path / "logging.toml") in seen


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is protected from files of others")
def test_what_root_reads_must_be_roots(tmp_path: Path) -> None:
    jobs = write(tmp_path)
    tmp_path.chmod(0o755)
    os.chown(tmp_path / "logging.toml", 4321, 4321)
    trust = Trust()
    with pytest.raises(JobFileError, match=r"logging.config: .*logging.toml belongs to .*4321"):
        load([jobs], timezone="UTC", trust=trust)
    assert load([jobs], timezone="UTC", trust=trust.and_user(4321)).logging.config is not None


def test_two_files_may_say_the_same_but_not_something_else(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text('[logging]\nlevel = "info"\n[logging.levels]\nruns = "error"\n')
    two.write_text('[logging]\nlevel = "info"\n[logging.levels]\nledger = "debug"\n')
    found = load([one, two], timezone="UTC").logging
    assert found.levels == ((LogPart.LEDGER, LogLevel.DEBUG), (LogPart.RUNS, LogLevel.ERROR))
    two.write_text('[logging]\nlevel = "debug"\n[logging.levels]\nruns = "debug"\n')
    with pytest.raises(JobFileError) as caught:
        load([one, two], timezone="UTC")
    assert [problem.key for problem in caught.value.problems] == ["logging.level", "logging.levels.runs"]


def test_nothing_stands_beside_a_configuration(tmp_path: Path) -> None:
    jobs = write(tmp_path)
    jobs.write_text(jobs.read_text() + 'level = "info"\n')
    with pytest.raises(JobFileError, match=r"logging\.level: has no effect beside config"):
        load([jobs], timezone="UTC")
