"""The captured output of one run, printed as it stands or followed while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.cli.options.arguments import not_found
from taskman_cli.cli.options.instance import ledger_of
from taskman_cli.cli.options.zones import shown_zone
from taskman_cli.cli.render import day_and_time, flush, note, screen, write_bytes, write_shown
from taskman_cli.cli.support.captured import CapturedFile
from taskman_cli.cli.support.polling import OutputPoll
from taskman_cli.cli.support.reply_times import in_seconds
from taskman_cli.core.engine.runs import attempt_key, decode_run_id, encode_run_id
from taskman_cli.core.model import State
from taskman_cli.errors import EXIT_FAILED, NotFound

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from taskman_cli.cli.support.terminal_filter import TerminalFilter
    from taskman_cli.ledger.queries.attempts import RunSummary
    from taskman_cli.ledger.queries.history import AttemptRow

_POLL_S = 0.1
#: How many polls pass between two checks whether taskman still runs.
_LOOKS_A_HOLDER = 20


class Selection:
    """The selected attempts of a run, as the ledger had them at the last look."""

    def __init__(self, ledger: sqlite3.Connection, run: int, task: str | None, number: int | None) -> None:
        self._ledger = ledger
        self._run, self._task, self._number = run, task, number
        self.facts: RunSummary
        self.attempts: list[AttemptRow] = []
        self.look()

    @property
    def run_id(self) -> str:
        """Return the id of the run."""
        return encode_run_id(self._run)

    @property
    def is_over(self) -> bool:
        """Tell whether all selected attempts have ended and no more will come."""
        if self.facts.is_over:
            return True
        if not self.attempts or any(attempt.ended_ns is None for attempt in self.attempts):
            return False
        # There are no more attempts of a task after a success, and only one of a given number.
        return self._task is not None and (
            self._number is not None or self.attempts[-1].state is State.SUCCEEDED
        )

    def look(self) -> None:
        """Read the attempts from the ledger; raises NotFound if the run has been removed."""
        from taskman_cli.ledger.queries.attempts import attempts_of, find_run

        facts = find_run(self._ledger, self._run)
        if facts is None:
            raise NotFound(f"run {self.run_id} has been removed")
        self.facts = facts
        every = attempts_of(self._ledger, self._run)
        of_task = [attempt for attempt in every if self._task in (None, attempt.task)]
        if self._task is not None and not of_task and facts.is_over:
            tasks = {attempt.task for attempt in every}
            raise not_found(f"run {self.run_id} of {facts.job} has started no task", self._task, tasks)
        self.attempts = [attempt for attempt in of_task if self._number in (None, attempt.number)]
        if self._number is not None and not self.attempts and facts.is_over:
            last = max((attempt.number for attempt in of_task), default=0)
            raise NotFound(
                f"run {self.run_id} of {facts.job} has no attempt {self._number}; the last was {last}"
            )

    def say_nothing_begun(self) -> None:
        """Report that there is no output, and whether there may be some later."""
        facts = self.facts
        if facts.is_over:
            why = f" ({facts.detail})" if facts.detail else ""
            note(f"run {self.run_id} of {facts.job} ended before it began{why}, so it has no output")
            return
        name = f"run {self.run_id} of {facts.job}" + (f".{self._task}" if self._task else "")
        attempt = f", attempt {self._number}," if self._number else ""
        note(f"{name}{attempt} has not begun yet, so it has no output")

    def latest(self) -> list[AttemptRow]:
        """Return the latest attempt of each task, in the order in which the tasks began."""
        return list({attempt.task: attempt for attempt in self.attempts}.values())


# --- printing ---


class _Source(NamedTuple):
    """The attempt that an output belongs to."""

    task: str
    number: int


class Printer:
    """Prints to standard output, with a header wherever another attempt follows."""

    def __init__(
        self,
        directory: Path,
        selection: Selection,
        shown: TerminalFilter | None,
        *,
        lines: int | None = None,
        is_one_of_many: bool = False,
    ) -> None:
        #: None: output is printed unchanged.
        self._screen = shown
        self._directory = directory.absolute() / "output"
        self._selection = selection
        self._files: dict[_Source, CapturedFile] = {}
        self._printed: _Source | None = None
        #: Of what each attempt has printed already, only this many lines; None: all.
        self.lines = lines
        #: Several runs are printed, so every header names its run.
        self._is_one_of_many = is_one_of_many
        self.has_headers = is_one_of_many
        self._stopped: set[_Source] = set()

    def say_stopped(self, attempts: list[AttemptRow]) -> None:
        """Report commands that are stopped, each once: they print nothing until they continue."""
        for attempt in attempts:
            source = _Source(attempt.task, attempt.number)
            if attempt.stop_ns is None or attempt.ended_ns is not None:
                self._stopped.discard(source)
            elif source not in self._stopped:
                self._stopped.add(source)
                flush()
                zone = shown_zone(self._directory.parent)
                since = day_and_time(in_seconds(attempt.stop_ns, zone))
                note(f"{self._title(attempt)}: stopped since {since}; `taskman resume` continues it")

    def pump(self, attempt: AttemptRow) -> bool:
        """Print the new output of an attempt; return whether it has a file."""
        source = _Source(attempt.task, attempt.number)
        file = self._files.get(source) or CapturedFile.open(self._path(source))
        if file is None:
            return False
        if source not in self._files and self.lines is not None:
            file.skip_to_last(self.lines)
        self._files[source] = file
        # Stop at the current end: a command may write faster than we read.
        end = file.layout().total
        while data := file.read():
            self._head(source)
            self._write(data)
            if file.position >= end:
                break
        return True

    def close(self, attempt: AttemptRow) -> bool:
        """Print the rest of an attempt and close its file; return whether its output is lost."""
        has_file, has_bytes = self.pump(attempt), False
        if file := self._files.pop(_Source(attempt.task, attempt.number), None):
            has_bytes = file.position > 0
            file.close()
        name = self._title(attempt)
        if attempt.output_error:
            flush()
            what = "part of the output" if has_bytes else "the output"
            note(f"{name}: {what} was lost: {attempt.output_error}")
            return not has_bytes
        if has_file:
            return False
        if attempt.output_bytes:
            note(f"{name}: the output has been removed, only that of the latest runs is kept (keep_runs)")
            return True
        note(f"{name}: no output" + (" so far" if attempt.ended_ns is None else " was captured"))
        return False

    def _write(self, data: bytes) -> None:
        if self._screen is None:
            write_bytes(data)
        else:
            write_shown(self._screen.feed(data))

    def end(self) -> None:
        """Print what the filter has held back, and reset colours."""
        if self._screen is not None and (text := self._screen.end()):
            write_shown(text)

    def _head(self, source: _Source) -> None:
        before, self._printed = self._printed, source
        if source != before:
            self.end()
        if self.has_headers and source != before:
            run = f" of run {self._selection.run_id}" if self._is_one_of_many else ""
            line = f"==> {self._name(source.task)} attempt {source.number}{run} <==\n"
            write_bytes(b"\n" * (before is not None) + line.encode())

    def _title(self, attempt: AttemptRow) -> str:
        return f"{self._name(attempt.task)}, attempt {attempt.number} of run {self._selection.run_id}"

    def _name(self, task: str) -> str:
        return f"{self._selection.facts.job}.{task}"

    def _path(self, source: _Source) -> Path:
        key = attempt_key(self._selection.run_id, source.task, source.number)
        return self._directory / self._selection.facts.job / f"{key}.log"


def print_output(selection: Selection, printer: Printer) -> int:
    """Print the existing output; return the exit code."""
    attempts = selection.latest()
    if not attempts:
        selection.say_nothing_begun()
        return 0
    printer.has_headers = printer.has_headers or len(attempts) > 1
    lost = sum([printer.close(attempt) for attempt in attempts])
    printer.say_stopped(attempts)
    return 1 if lost else 0


def follow_output(ledger: sqlite3.Connection, selection: Selection, printer: Printer, directory: Path) -> int:
    """Print the existing output and what follows, until all selected attempts have ended.

    Also stops if taskman is not running. Returns the exit code.
    """
    from taskman_cli.instance.lock import holder
    from taskman_cli.ledger.queries.reader import data_version

    poll = OutputPoll(_POLL_S)
    version = data_version(ledger)
    selection.look()
    first = {attempt.task: attempt.number for attempt in selection.latest()}
    closed: set[_Source] = set()
    lost, looks = 0, 0
    while True:
        # Read the ledger before the files: then the output of an attempt that has ended is complete.
        attempts = [one for one in selection.attempts if one.number >= first.get(one.task, 1)]
        printer.has_headers = printer.has_headers or len(attempts) > 1
        for attempt in attempts:
            source = _Source(attempt.task, attempt.number)
            if source in closed:
                continue
            if attempt.ended_ns is None and not selection.facts.is_over:
                printer.pump(attempt)
            else:
                closed.add(source)
                lost += printer.close(attempt)
        if selection.is_over:
            break
        printer.lines = None  # what comes from here on is new, of later attempts too
        printer.say_stopped(attempts)
        flush()
        poll.wait()
        if (now := data_version(ledger)) != version:
            version = now
            selection.look()
        looks += 1
        if looks % _LOOKS_A_HOLDER == 0 and holder(directory) is None:
            selection.look()  # it may have recorded the end before it exited
            if not selection.is_over:
                note(f"taskman is not running: its next start will find out how run {selection.run_id} ended")
                return EXIT_FAILED
    if not attempts:
        selection.say_nothing_begun()
    return 1 if lost else 0


def follow_run(directory: Path, run: str, task: str | None = None) -> None:
    """Print the output of a run, or of one of its tasks, until it has ended."""
    with ledger_of(directory) as ledger:
        selection = Selection(ledger, decode_run_id(run), task, None)
        printer = Printer(directory, selection, screen())
        try:
            follow_output(ledger, selection, printer, directory)
        finally:
            printer.end()
