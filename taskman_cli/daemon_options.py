"""What `taskman run` was asked for, on its way from the command line to the scheduler's process."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What `taskman run` was asked for."""

    files: tuple[str, ...]
    state_directory: str
    is_live: bool = False
    run_for_ns: int | None = None
    is_until_idle: bool = False
    log_level: str = "info"

    def to_json(self) -> str:
        """Write the options as one argument for the scheduler's process."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> Options:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"files": tuple(values["files"])})
