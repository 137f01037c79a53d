"""Converts each input by the reader for its kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile.crontab.dialect import Dialect, tell
from taskman_cli.jobfile.crontab.parse import read_crontab
from taskman_cli.jobfile.crontab.source import Form, as_text, doubt, form_of, guess, prefix_of, why
from taskman_cli.jobfile.crontab.spool import SpoolFile
from taskman_cli.jobfile.foreign.anacron import from_anacrontab
from taskman_cli.jobfile.foreign.crontabs import from_crontab
from taskman_cli.jobfile.foreign.imported import Imported
from taskman_cli.jobfile.foreign.kinds import Kind, kind_of
from taskman_cli.jobfile.foreign.kubernetes import from_kubernetes
from taskman_cli.jobfile.foreign.ofelia import from_ofelia
from taskman_cli.jobfile.foreign.scripts import from_scripts
from taskman_cli.jobfile.foreign.timers import from_timer
from taskman_cli.jobfile.foreign.units import Unit, find_unit, read_unit
from taskman_cli.jobfile.foreign.yacron import from_yacron
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import decoded, read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskman_cli.jobfile.foreign.inputs import Input


class Converter:
    """Converts inputs into jobs of one job file, whose names differ."""

    def __init__(self, form: Form | None, dialect: Dialect | None) -> None:
        """Set up; `form` is the kind of crontabs, and `dialect` theirs, if they are known."""
        self._form = form
        self._dialect = dialect
        self._taken: dict[str, int] = {}
        #: The files of services that were given, by their names.
        self._services: dict[str, Input] = {}
        self._used: set[str] = set()
        self._is_alone = True
        #: What was guessed, to be reported.
        self.guesses: list[str] = []

    def convert(self, found: Sequence[Input]) -> list[Imported]:
        """Convert inputs in their order."""
        self._is_alone = len(found) == 1
        kinds = [(one, self._kind(one)) for one in found]
        self._services = {one.path.name: one for one, kind in kinds if kind is Kind.SERVICE}
        imported = [self._convert(one, kind) for one, kind in kinds if kind is not Kind.SERVICE]
        imported += [
            _alone(one) for name, one in self._services.items() if name not in self._used and not one.is_found
        ]
        return imported

    def _kind(self, one: Input) -> Kind | None:
        if one.is_scripts or self._form is not None or self._dialect is not None:
            return None
        if (
            not one.is_piped
            and form_of(one.path, Dialect.DEBIAN) is not None
            and one.path.name != "anacrontab"
        ):
            return None
        return kind_of(one.path, one.data)

    def _convert(self, one: Input, kind: Kind | None) -> Imported:
        if one.is_scripts:
            return from_scripts(one.path, taken=self._taken)
        path = str(one.path)
        try:
            match kind:
                case Kind.ANACRONTAB:
                    return from_anacrontab(decoded(one.data, one.path), path=path, taken=self._taken)
                case Kind.OFELIA:
                    return from_ofelia(decoded(one.data, one.path), path=path, taken=self._taken)
                case Kind.YACRON:
                    return from_yacron(one.data, path=path, taken=self._taken)
                case Kind.KUBERNETES:
                    return from_kubernetes(one.data, path=path, taken=self._taken)
                case Kind.TIMER:
                    return self._timer(one)
        except ImportError:
            message = "reading YAML needs PyYAML: pip install 'taskman-scheduler[yaml]'"
            raise TaskmanError(f"{path}: {message}") from None
        except JobFileError as error:
            imported = Imported(path)
            imported.problems = list(error.problems)
            return imported
        return self._crontab(one)

    def _timer(self, one: Input) -> Imported:
        text = decoded(one.data, one.path)
        directory = one.path.absolute().parent
        name = one.path.name if one.path.suffix == ".timer" else "imported.timer"
        timer = read_unit(name, text, beside=None if one.is_piped else directory)
        if name.endswith("@.timer"):
            imported = Imported(str(one.path))
            words = f"a template of timers: give it a name, as in {name.replace('@.', '@INSTANCE.')}"
            (imported.note if one.is_found else imported.problem)(0, words)
            return imported
        wanted = timer.one("Timer", "Unit") or name.removesuffix(".timer") + ".service"
        service = self._service(wanted, None if one.is_piped else directory)
        if service is None and any(section == "Service" for section, _ in timer.settings):
            # As `systemctl cat` prints both.
            service = timer
        return from_timer(timer, service, path=str(one.path), text=text, wanted=wanted, taken=self._taken)

    def _service(self, name: str, directory: Path | None) -> Unit | None:
        if name in self._services:
            self._used.add(name)
            given = self._services[name]
            return read_unit(name, decoded(given.data, given.path), beside=given.path.absolute().parent)
        path = None if directory is None else find_unit(name, directory)
        if path is None:
            return None
        self._used.add(name)
        return read_unit(name, decoded(read_bytes(path), path), beside=path.parent)

    def _crontab(self, one: Input) -> Imported:
        text = as_text(one.data)
        spooled = None if one.is_piped else SpoolFile.at(one.path)
        user = spooled.user if spooled is not None else None
        path = None if one.is_piped else one.path
        told = tell(path, text, self._dialect)
        if told.why:
            self._guess(one, f"{told.words}; if it is another's, use --dialect")
        form = self._form_of(one, text, told.dialect)
        crontab = read_crontab(text, system=form is Form.SYSTEM, user=user, dialect=told.dialect)
        if self._form is None and form is Form.USER and user is None and (words := doubt(crontab)):
            self._guess(one, f"{words}, use --system")
        prefix = prefix_of(one.path, user) if one.is_found else ""
        return from_crontab(one.data, crontab, path=str(one.path), taken=self._taken, prefix=prefix)

    def _guess(self, one: Input, words: str) -> None:
        """Keep what to say about a guess."""
        self.guesses.append(words if self._is_alone else f"{one.path}: {words}")

    def _form_of(self, one: Input, text: str, dialect: Dialect) -> Form:
        """Return the kind of a crontab, and keep what to say if it was guessed."""
        known = self._form or (None if one.is_piped else form_of(one.path, dialect))
        if known is not None or not dialect.has_users:
            return known or Form.USER
        guessed = guess(text, dialect) or Form.USER
        other = Form.USER if guessed is Form.SYSTEM else Form.SYSTEM
        self._guess(one, f"treated as a {guessed} crontab: {why(guessed)}; if it is not, use --{other}")
        return guessed


def _alone(one: Input) -> Imported:
    """Refuse a service that no timer starts."""
    imported = Imported(str(one.path))
    timer = one.path.name.removesuffix(".service") + ".timer"
    imported.problems = [
        Problem(str(one.path), 0, 1, "", f"a service says no times: give its timer {timer} too")
    ]
    return imported
