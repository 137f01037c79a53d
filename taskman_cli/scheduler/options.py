"""The options of `taskman run`, on their way from the command line to the scheduler's process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

#: Linux limits an argument to 128 KiB (MAX_ARG_STRLEN); our JSON is ASCII.
_WORD_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `taskman run`."""

    files: tuple[str, ...]
    state_directory: str
    is_live: bool = False
    run_for_ns: int | None = None
    is_until_idle: bool = False
    #: None: what the job file says, or what is usual.
    level: str | None = None
    #: Crontabs without a column for the user.
    user_crontabs: tuple[str, ...] = ()
    skip_bad: bool = False
    #: Whose crontabs they are; None: each tells.
    dialect: str | None = None
    #: The directory that it was started in: relative paths begin there.
    start: str = ""
    #: Users by number, and paths, whose files count as root's: `--trust`.
    trusted: tuple[str, ...] = ()
    #: The state is thrown away at the end.
    is_ephemeral: bool = False
    #: Do not say where the state is kept and what to type next.
    is_quiet: bool = False
    log_format: str | None = None
    #: The options by which other commands find this instance.
    address: tuple[str, ...] = ()
    #: What to type to run taskman.
    program: str = "taskman"

    @property
    def is_default_place(self) -> bool:
        """Tell whether the state is where the environment says, and not in a directory that was named."""
        return not self.is_ephemeral and self.address[:1] != ("--state-dir",)

    @property
    def instance(self) -> str:
        """Return the name of the instance, if it has one."""
        return self.address[1] if self.address[:1] == ("-i",) else ""

    def load_arguments(self) -> dict[str, Any]:
        """Return the arguments of `jobfile.load`, as JSON has them."""
        return {
            "files": list(self.files),
            "user_crontabs": list(self.user_crontabs),
            "skip_bad": self.skip_bad,
            "dialect": self.dialect,
        }

    def to_words(self) -> list[str]:
        """Write the options as the last arguments of a command line, each short enough for the system."""
        text = self.to_json()
        return [text[at : at + _WORD_BYTES] for at in range(0, len(text), _WORD_BYTES)]

    def to_json(self) -> str:
        """Write the options as one argument for the scheduler's process."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values | {"log_level": self._earlier_level})

    @property
    def _earlier_level(self) -> str:
        """Return the level as versions before `notice` have it, under its name there: one may be put back."""
        if self.level is not None:
            return "info" if self.level == "notice" else self.level
        return "critical" if self.is_live else "warning" if self.is_quiet else "info"

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Read the options of any version: a supervisor outlives the version that started it.

        A missing option has its default; an unknown one is ignored.
        """
        values = json.loads(text)
        if "level" not in values and "log_level" in values:
            values["level"] = values["log_level"]
        known: dict[str, Any] = {name: values[name] for name in cls.__slots__ if name in values}
        names = {
            name: tuple(known.get(name, ())) for name in ("files", "user_crontabs", "trusted", "address")
        }
        return cls(**known | names)
