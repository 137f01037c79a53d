"""Converts each input by the reader for its kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.jobfile.crontab.dialect import Dialect, tell
from taskman_cli.jobfile.crontab.parse import read_crontab
from taskman_cli.jobfile.crontab.source import Form, as_text, doubt, form_of, guess, prefix_of, why
from taskman_cli.jobfile.crontab.spool import SpoolFile
from taskman_cli.jobfile.foreign.crontabs import from_crontab

if TYPE_CHECKING:
    from taskman_cli.jobfile.foreign.imported import Imported
    from taskman_cli.jobfile.foreign.inputs import Input


class Converter:
    """Converts inputs into jobs of one job file, whose names differ."""

    def __init__(self, form: Form | None, dialect: Dialect | None) -> None:
        """Set up; `form` is the kind of crontabs, and `dialect` theirs, if they are known."""
        self._form = form
        self._dialect = dialect
        self._taken: dict[str, int] = {}
        #: What was guessed, to be reported.
        self.guesses: list[str] = []

    def convert(self, one: Input) -> Imported:
        """Convert one input."""
        return self._crontab(one)

    def _crontab(self, one: Input) -> Imported:
        text = as_text(one.data)
        spooled = None if one.is_piped else SpoolFile.at(one.path)
        user = spooled.user if spooled is not None else None
        path = None if one.is_piped else one.path
        told = tell(path, text, self._dialect)
        if told.why:
            self.guesses.append(f"{told.words}; if it is another's, use --dialect")
        form = self._form_of(path, text, told.dialect)
        crontab = read_crontab(text, system=form is Form.SYSTEM, user=user, dialect=told.dialect)
        if self._form is None and form is Form.USER and user is None and (words := doubt(crontab)):
            self.guesses.append(f"{words}, use --system")
        prefix = prefix_of(one.path, user) if one.is_found else ""
        return from_crontab(one.data, crontab, path=str(one.path), taken=self._taken, prefix=prefix)

    def _form_of(self, path: Path | None, text: str, dialect: Dialect) -> Form:
        """Return the kind of a crontab, and keep what to say if it was guessed."""
        known = self._form or (None if path is None else form_of(path, dialect))
        if known is not None or not dialect.has_users:
            return known or Form.USER
        guessed = guess(text, dialect) or Form.USER
        other = Form.USER if guessed is Form.SYSTEM else Form.SYSTEM
        self.guesses.append(f"treated as a {guessed} crontab: {why(guessed)}; if it is not, use --{other}")
        return guessed
